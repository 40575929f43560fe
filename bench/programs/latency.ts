/**
 * How long frames take to the backend and back: at a steady rate, or one after the other.
 *
 * Argument: a {@link LatencyRequest} as JSON. Prints a {@link LatencyAnswer}.
 */
import { NetDevice, type PacketBuffer } from 'virtio-net';
import { look, now, time } from '../lib/clock.js';
import { CollectionWatch, type Collections } from '../lib/collections.js';
import { Histogram, type Percentiles } from '../lib/histogram.js';

export interface LatencyRequest {
  readonly socket: string;
  readonly packed: boolean;
  /**
   * `polled`: busy all the time. `interrupts`: asleep until a frame comes; with a rate of 0 only. `idle`: without frames,
   * as if they came back at once.
   */
  readonly mode: 'polled' | 'interrupts' | 'idle';
  /** Frames per second; 0 for one after the other. */
  readonly rate: number;
  readonly warmUpSeconds: number;
  readonly seconds: number;
  /** Length of the frames in bytes, without FCS. */
  readonly frameLength: number;
}

export interface LatencyAnswer extends Percentiles {
  readonly sent: number;
  /** Frames that did not come back. */
  readonly lost: number;
  readonly seconds: number;
  readonly collections: Collections;
  /** Processor time of the program for each second. */
  readonly cpu: number;
}

/** Frames under way at most, a power of two. */
const UNDER_WAY = 1 << 16;
/** Where in a frame its number lies: behind the Ethernet header. */
const NUMBER_AT = 14;
const BURST = 32;
/** As ixy's. A pause in which more frames come back than that loses some. */
const QUEUE_SIZE = 512;
/** How long to wait for the last frames, and until those that do not come are lost, in milliseconds. */
const PATIENCE = 100;
/** As many under way mean that some are lost: a frame that comes must find its time in its place. */
const MOST_UNDER_WAY = UNDER_WAY / 2;
/** The same in calls that find nothing. */
const MOST_CALLS = 10_000_000;

const request = JSON.parse(process.argv[2]) as LatencyRequest;
const interrupts = request.mode === 'interrupts';
const device = await NetDevice.open(`vhost-user:${request.socket}`, {
  interrupts,
  queueSize: QUEUE_SIZE,
  features: request.packed ? { required: ['VIRTIO_F_RING_PACKED'] } : { unwanted: ['VIRTIO_F_RING_PACKED'] },
});
await device.start();
const histogram = new Histogram();
const batch: PacketBuffer[] = [];
/** When each frame was due, by the lower bits of its number. */
const due = new Float64Array(UNDER_WAY);
/** When the next frame is due. In a variable it would be a new object for each frame until the compiler knows better. */
const next = new Float64Array(1);

function writeNumber({ bytes, start }: PacketBuffer, number: number): void {
  const at = start + NUMBER_AT;
  bytes[at] = number;
  bytes[at + 1] = number >>> 8;
  bytes[at + 2] = number >>> 16;
  bytes[at + 3] = number >>> 24;
}

function readNumber({ bytes, start }: PacketBuffer): number {
  const at = start + NUMBER_AT;
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
}

/** Sends frames with the numbers from `first` on, as many as go. */
function sendBurst(first: number, count: number): number {
  const allocated = device.allocateBatch(batch, count);
  for (let i = 0; i < allocated; i += 1) {
    batch[i].length = request.frameLength;
    writeNumber(batch[i], first + i);
  }
  const sent = device.transmit(batch, allocated);
  for (let i = sent; i < allocated; i += 1) batch[i].release();
  return sent;
}

/** Takes what has come back; its time is that of the call, which every burst is looked for anew. */
function receiveBurst(): number {
  const count = device.receive(batch, BURST);
  if (count === 0) return 0;
  look();
  for (let i = 0; i < count; i += 1) {
    histogram.add(time[0] - due[readNumber(batch[i]) & (UNDER_WAY - 1)]);
  }
  device.releaseBatch(batch, count);
  return count;
}

interface Traffic {
  readonly sent: number;
  readonly received: number;
}

/**
 * One frame every so often, whether those before are back or not. A frame's time counts from when it was due, so that a
 * pause of the program shows in all frames that it held up.
 */
function runAtRate(seconds: number): Traffic {
  const period = 1000 / request.rate;
  const begin = now();
  const end = begin + seconds * 1000;
  let sent = 0;
  let received = 0;
  let lost = 0;
  next[0] = begin;
  for (;;) {
    look();
    if (time[0] >= end) break;
    if (sent - received - lost >= MOST_UNDER_WAY) {
      // Those that were due meanwhile are sent late, and count from when they were due.
      received += receiveLate(sent - received - lost);
      lost = sent - received;
      continue;
    }
    if (time[0] >= next[0]) {
      let count = 0;
      while (next[0] <= time[0] && count < BURST) {
        due[(sent + count) & (UNDER_WAY - 1)] = next[0];
        next[0] += period;
        count += 1;
      }
      const taken = sendBurst(sent, count);
      next[0] -= (count - taken) * period;
      sent += taken;
    }
    received += receiveBurst();
  }
  received += receiveLate(sent - received - lost);
  return { sent, received };
}

/** Waits for frames that are under way, and says how many came. */
function receiveLate(count: number): number {
  const patience = now() + PATIENCE;
  let received = 0;
  while (received < count && now() < patience) received += receiveBurst();
  return received;
}

/** The same without any frames: for how long the machine keeps the program from running, whatever it does. */
function runIdle(seconds: number): Traffic {
  const period = 1000 / request.rate;
  const begin = now();
  const end = begin + seconds * 1000;
  next[0] = begin;
  do {
    look();
    while (next[0] <= time[0]) {
      histogram.add(time[0] - next[0]);
      next[0] += period;
    }
  } while (time[0] < end);
  return { sent: 0, received: 0 };
}

/** Each frame when the one before is back, polled. */
function runInTurn(seconds: number): Traffic {
  const end = now() + seconds * 1000;
  let sent = 0;
  let received = 0;
  do {
    look();
    due[sent & (UNDER_WAY - 1)] = time[0];
    sent += sendBurst(sent, 1);
    for (let calls = 0; received < sent && calls < MOST_CALLS; calls += 1) received += receiveBurst();
  } while (received === sent && time[0] < end);
  return { sent, received };
}

/** Each frame when the one before is back, as the event loop tells. */
function runAwake(seconds: number): Promise<Traffic> {
  return new Promise((resolve) => {
    const end = now() + seconds * 1000;
    let sent = 0;
    let received = 0;
    const send = (): void => {
      due[sent & (UNDER_WAY - 1)] = now();
      sent += sendBurst(sent, 1);
    };
    const onFrame = (packet: PacketBuffer): void => {
      look();
      histogram.add(time[0] - due[readNumber(packet) & (UNDER_WAY - 1)]);
      received += 1;
      if (time[0] < end) send();
    };
    device.on('frame', onFrame);
    setTimeout(
      () => {
        device.off('frame', onFrame);
        resolve({ sent, received });
      },
      seconds * 1000 + PATIENCE,
    );
    send();
  });
}

async function run(seconds: number): Promise<Traffic> {
  if (interrupts) return runAwake(seconds);
  if (request.mode === 'idle') return runIdle(seconds);
  return request.rate === 0 ? runInTurn(seconds) : runAtRate(seconds);
}

histogram.clear();
await run(request.warmUpSeconds);
histogram.clear();
const watch = new CollectionWatch();
const cpuBefore = process.cpuUsage();
const begin = performance.now();
const { sent, received } = await run(request.seconds);
const end = performance.now();
const { user, system } = process.cpuUsage(cpuBefore);
const collections = await watch.between(begin, end);
watch.stop();
await device.close();
const seconds = (end - begin) / 1000;
const answer: LatencyAnswer = {
  ...histogram.percentiles(),
  sent,
  lost: sent - received,
  seconds,
  collections,
  cpu: (user + system) / 1e6 / seconds,
};
console.log(JSON.stringify(answer));
