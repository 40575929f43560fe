/**
 * What processor time frames take at a steady rate: so many are sent each millisecond, and come back.
 *
 * Argument: a {@link LoadRequest} as JSON. Prints a {@link LoadAnswer}.
 */
import { NetDevice, type PacketBuffer } from 'virtio-net';

export interface LoadRequest {
  readonly socket: string;
  readonly packed: boolean;
  /** `polled`: looks for frames all the time. `interrupts`: is woken. */
  readonly mode: 'polled' | 'interrupts';
  /** Frames per millisecond, at most as many as the ring has room for. */
  readonly framesPerMillisecond: number;
  readonly warmUpSeconds: number;
  readonly seconds: number;
  /** Length of the frames in bytes, without FCS. */
  readonly frameLength: number;
}

export interface LoadAnswer {
  readonly frames: number;
  readonly seconds: number;
  /** Processor time, in seconds. */
  readonly cpuSeconds: number;
}

const QUEUE_SIZE = 1024;
const BURST = 64;

const request = JSON.parse(process.argv[2]) as LoadRequest;
const interrupts = request.mode === 'interrupts';
const device = await NetDevice.open(`vhost-user:${request.socket}`, {
  interrupts,
  queueSize: QUEUE_SIZE,
  features: request.packed ? { required: ['VIRTIO_F_RING_PACKED'] } : { unwanted: ['VIRTIO_F_RING_PACKED'] },
});
await device.start();
const batch: PacketBuffer[] = [];
let received = 0;

function send(count: number): void {
  const allocated = device.allocateBatch(batch, count);
  for (let i = 0; i < allocated; i += 1) batch[i].length = request.frameLength;
  const sent = device.transmit(batch, allocated);
  for (let i = sent; i < allocated; i += 1) batch[i].release();
}

/** Sends what is due since the beginning: a timer that comes late makes up for it, as far as the ring has room. */
class Schedule {
  private readonly begin = performance.now();
  private sent = 0;

  sendDue(): void {
    const due = Math.floor((performance.now() - this.begin) * request.framesPerMillisecond);
    const count = Math.min(due - this.sent, QUEUE_SIZE / 2);
    if (count > 0) send(count);
    this.sent = due;
  }
}

function runPolled(seconds: number): void {
  const schedule = new Schedule();
  const end = performance.now() + seconds * 1000;
  let nextSend = performance.now();
  for (let now = nextSend; now < end; now = performance.now()) {
    if (now >= nextSend) {
      schedule.sendDue();
      nextSend = now + 1;
    }
    const count = device.receive(batch, BURST);
    device.releaseBatch(batch, count);
    received += count;
  }
}

function runAwake(seconds: number): Promise<void> {
  return new Promise((resolve) => {
    const schedule = new Schedule();
    const timer = setInterval(() => schedule.sendDue(), 1);
    setTimeout(() => {
      clearInterval(timer);
      resolve();
    }, seconds * 1000);
  });
}

async function run(seconds: number): Promise<void> {
  if (interrupts) await runAwake(seconds);
  else runPolled(seconds);
}

device.on('frame', () => (received += 1));
await run(request.warmUpSeconds);
received = 0;
const before = process.cpuUsage();
const begin = performance.now();
await run(request.seconds);
const { user, system } = process.cpuUsage(before);
const answer: LoadAnswer = {
  frames: received,
  seconds: (performance.now() - begin) / 1000,
  cpuSeconds: (user + system) / 1e6,
};
await device.close();
console.log(JSON.stringify(answer));
