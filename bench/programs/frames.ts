/**
 * The program that is measured: frames by one device, polled, in the way that its argument says. Each line on standard
 * input, `run MILLISECONDS`, runs the loop once; the end of the input ends the program.
 */
import { createInterface } from 'node:readline';
import { NetDevice, type FeatureName, type PacketBuffer } from 'virtio-net';

interface Task {
  readonly target: string;
  readonly mode: 'receive' | 'transmit' | 'transmit-fresh' | 'forward';
  /** Bytes of each frame that is sent. */
  readonly size: number;
  readonly packed: boolean;
  readonly inOrder: boolean;
  readonly mergeable: boolean;
  readonly queueSize: number;
  readonly burst: number;
}

const task = JSON.parse(process.argv[2]) as Task;
const { mode, size, burst } = task;

/** Turns between two looks at the clock. */
const TURNS = 1024;

async function open(): Promise<NetDevice> {
  const { packed, inOrder, mergeable, queueSize } = task;
  const [asked, refused] = [new Array<FeatureName>(), new Array<FeatureName>()];
  (packed ? asked : refused).push('VIRTIO_F_RING_PACKED');
  (inOrder ? asked : refused).push('VIRTIO_F_IN_ORDER');
  (mergeable ? asked : refused).push('VIRTIO_NET_F_MRG_RXBUF');
  const features = { required: asked, unwanted: refused };
  // testpmd is told to do without huge pages, too.
  const options = { interrupts: false, queueSize, features, hugePages: 'never' } as const;
  const device = await NetDevice.open(task.target, options);
  await device.start();
  return device;
}

/** A frame of UDP over IPv4, as testpmd sends them: 42 bytes of headers, and zeros. */
function exampleFrame(): Uint8Array {
  const frame = new Uint8Array(size);
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0]);
  frame.set(
    [(size - 14) >> 8, (size - 14) & 255, 0, 0, 0, 0, 64, 17, 0, 0, 198, 18, 0, 1, 198, 18, 0, 2],
    16,
  );
  frame.set([0, 9, 0, 9, (size - 34) >> 8, (size - 34) & 255], 34);
  return frame;
}

const device = await open();
const batch: PacketBuffer[] = [];
const frame = exampleFrame();
/** What is written anew into each frame that is sent: testpmd writes the headers, this a little more. */
const head = frame.subarray(0, 64);

function send(count: number): number {
  const sent = device.transmit(batch, count);
  for (let i = sent; i < count; i += 1) batch[i].release();
  return sent;
}

function receive(): number {
  const count = device.receive(batch, burst);
  device.releaseBatch(batch, count);
  return count;
}

function transmit(): number {
  const count = device.allocateBatch(batch, burst);
  for (let i = 0; i < count; i += 1) batch[i].length = size;
  return send(count);
}

function transmitFresh(): number {
  const count = device.allocateBatch(batch, burst);
  for (let i = 0; i < count; i += 1) batch[i].setFrame(head).length = size;
  return send(count);
}

function forward(): number {
  const count = device.receive(batch, burst);
  return count === 0 ? 0 : send(count);
}

const turn = { receive, transmit, 'transmit-fresh': transmitFresh, forward }[mode];

/** Writes the frame into every buffer that is free, so that those that are sent as they are hold one. */
function prebuild(): void {
  const all: PacketBuffer[] = [];
  device.allocateBatch(all, device.statistics().pool.size);
  for (const packet of all) packet.setFrame(frame).release();
}

function run(milliseconds: number): number {
  const until = performance.now() + milliseconds;
  let frames = 0;
  do {
    for (let i = 0; i < TURNS; i += 1) frames += turn();
  } while (performance.now() < until);
  return frames;
}

prebuild();
console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  const milliseconds = Number(/^run (\d+)$/.exec(line)?.[1]);
  if (Number.isNaN(milliseconds)) break;
  console.log('running');
  const frames = run(milliseconds);
  console.log(`done ${frames}`);
}
await device.close();
