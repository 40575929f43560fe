/**
 * A device whose queue pairs are each used by a worker thread, while the main thread sleeps.
 *
 * Argument: a {@link PairsRequest} as JSON. Prints a {@link PairsAnswer}.
 */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { NetDevice } from 'virtio-net';
import { COUNTS, SIGNAL, type PairWork } from './pair-modes.js';

export interface PairsRequest extends Pick<PairWork, 'operation' | 'burst' | 'frameLength'> {
  readonly socket: string;
  readonly packed: boolean;
  readonly workers: number;
  readonly warmUpSeconds: number;
  readonly seconds: number;
}

export interface PairsAnswer {
  readonly seconds: number;
  /** Frames of each worker. */
  readonly frames: readonly number[];
  /** Processor time of each worker, in seconds. */
  readonly cpuSeconds: readonly number[];
  /** Processor time of the whole process. */
  readonly processSeconds: number;
}

const WORKER = new URL('pair-worker.mjs', import.meta.url);
const START_MILLISECONDS = 10_000;
const LOOK_EVERY = 5;

const request = JSON.parse(process.argv[2]) as PairsRequest;
const { socket, packed, workers: count, operation, burst, frameLength } = request;
const device = await NetDevice.open(`vhost-user:${socket}`, {
  interrupts: false,
  queuePairs: count,
  features: packed ? { required: ['VIRTIO_F_RING_PACKED'] } : { unwanted: ['VIRTIO_F_RING_PACKED'] },
});
const words = new Int32Array(new SharedArrayBuffer(SIGNAL.WORDS * 4));
const results = new Float64Array(new SharedArrayBuffer(count * COUNTS.WORDS * 8));

function startWorker(place: number): Worker {
  const pair = device.shareQueuePair(place);
  const { buffer: signal } = words;
  const { buffer: counts } = results;
  const workerData = { pair, operation, burst, frameLength, signal, counts, place };
  return new Worker(WORKER, { workerData, transferList: pair.transferList });
}

async function allReady(): Promise<void> {
  const deadline = performance.now() + START_MILLISECONDS;
  while (Atomics.load(words, SIGNAL.READY) < count) {
    if (performance.now() > deadline) throw new Error('The workers did not begin');
    await sleep(LOOK_EVERY);
  }
}

const workers = Array.from({ length: count }, (_, place) => startWorker(place));
await Promise.all(workers.map((worker) => once(worker, 'message')));
await device.start();
await allReady();
await sleep(request.warmUpSeconds * 1000);
const done = Promise.all(workers.map((worker) => once(worker, 'exit')));
const before = process.cpuUsage();
const begin = performance.now();
Atomics.store(words, SIGNAL.GO, 1);
await sleep(request.seconds * 1000);
Atomics.store(words, SIGNAL.STOP, 1);
const end = performance.now();
const { user, system } = process.cpuUsage(before);
await done;
await device.close();
const each = (word: number): number[] =>
  Array.from({ length: count }, (_, place) => results[place * COUNTS.WORDS + word]);
const answer: PairsAnswer = {
  seconds: (end - begin) / 1000,
  frames: each(COUNTS.FRAMES),
  cpuSeconds: each(COUNTS.SECONDS),
  processSeconds: (user + system) / 1e6,
};
console.log(JSON.stringify(answer));
