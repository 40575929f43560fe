/**
 * What a device costs apart from its frames: the time to open, start and close it, and the memory that it holds.
 *
 * Argument: a {@link FootprintRequest} as JSON. Prints a {@link FootprintAnswer}. Needs `--expose-gc`.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { NetDevice } from 'virtio-net';

export interface FootprintRequest {
  readonly socket: string;
  readonly queuePairs: number;
  readonly queueSize: number;
  /** How often it is opened and closed. */
  readonly repetitions: number;
}

export interface FootprintAnswer {
  /** Milliseconds, one for each repetition; the first is that of a program that has just begun. */
  readonly open: readonly number[];
  readonly start: readonly number[];
  readonly stop: readonly number[];
  readonly close: readonly number[];
  /** Bytes of the JavaScript heap that a device takes. */
  readonly heap: number;
  /** Bytes that are shared with the backend: rings and buffers. */
  readonly shared: number;
}

/** Until what a closed device leaves to the event loop is done. */
const SETTLING_MILLISECONDS = 100;

const request = JSON.parse(process.argv[2]) as FootprintRequest;
const { socket, queuePairs, queueSize, repetitions } = request;
const collect = (globalThis as { gc?: () => void }).gc;
if (collect === undefined) throw new Error('Run it with --expose-gc');

/** What of the process is shared memory, in bytes: only what was touched is there. */
function sharedBytes(): number {
  const found = /^RssShmem:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'));
  return Number(found?.[1] ?? 0) * 1024;
}

function heapBytes(): number {
  collect?.();
  collect?.();
  return process.memoryUsage().heapUsed;
}

const open = (): Promise<NetDevice> =>
  NetDevice.open(`vhost-user:${socket}`, { interrupts: false, queuePairs, queueSize });

async function timed<Result>(into: number[], action: () => Promise<Result>): Promise<Result> {
  const begin = performance.now();
  const result = await action();
  into.push(performance.now() - begin);
  return result;
}

const times = { open: [] as number[], start: [] as number[], stop: [] as number[], close: [] as number[] };

/** In a function of its own: what it has held is garbage when it has returned. */
async function openAndClose(): Promise<void> {
  const device = await timed(times.open, open);
  await timed(times.start, () => device.start());
  await timed(times.stop, () => device.stop());
  await timed(times.close, () => device.close());
}

for (let i = 0; i < repetitions; i += 1) await openAndClose();
await sleep(SETTLING_MILLISECONDS);
const heapBefore = heapBytes();
const sharedBefore = sharedBytes();
const device = await open();
await device.start();
const answer: FootprintAnswer = {
  ...times,
  heap: heapBytes() - heapBefore,
  shared: sharedBytes() - sharedBefore,
};
await device.close();
console.log(JSON.stringify(answer));
