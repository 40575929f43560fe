/** A worker thread that receives or sends over a queue pair of its own, polled, and counts from a signal to the next. */
import { readFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { attachQueuePair, type AttachedQueuePair, type PacketBuffer } from 'virtio-net';
import { COUNTS, SIGNAL, type PairWork } from './pair-modes.js';

const work = workerData as PairWork;
const signal = new Int32Array(work.signal);
const counts = new Float64Array(work.counts, work.place * COUNTS.WORDS * 8, COUNTS.WORDS);
const batch: PacketBuffer[] = [];
const frame = new Uint8Array(work.frameLength).fill(0xff, 0, 6);
/** How many calls are made between two looks at the signals. */
const CALLS_BETWEEN_LOOKS = 64;

function receive(pair: AttachedQueuePair): number {
  const count = pair.receive(batch, work.burst);
  pair.releaseBatch(batch, count);
  return count;
}

function transmit(pair: AttachedQueuePair): number {
  const count = pair.allocateBatch(batch, work.burst);
  for (let i = 0; i < count; i += 1) batch[i].setFrame(frame);
  const sent = pair.transmit(batch, count);
  for (let i = sent; i < count; i += 1) batch[i].release();
  return sent;
}

/** Processor time of this thread in seconds: the first number of its schedstat, in ns. */
function processorSeconds(): number {
  const [nanoseconds] = readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ');
  return Number(nanoseconds) / 1e9;
}

function runUntil(step: (pair: AttachedQueuePair) => number, pair: AttachedQueuePair, word: number): number {
  let frames = 0;
  while (Atomics.load(signal, word) === 0) {
    for (let call = 0; call < CALLS_BETWEEN_LOOKS; call += 1) frames += step(pair);
  }
  return frames;
}

const pair = await attachQueuePair(work.pair);
const step = work.operation === 'receive' ? receive : transmit;
const whenRunning = new Promise<void>((resolve) => {
  pair.on('state', () => {
    if (pair.state === 'running') resolve();
  });
  if (pair.state === 'running') resolve();
});
parentPort?.postMessage('attached');
await whenRunning;
Atomics.add(signal, SIGNAL.READY, 1);
runUntil(step, pair, SIGNAL.GO);
const before = processorSeconds();
counts[COUNTS.FRAMES] = runUntil(step, pair, SIGNAL.STOP);
counts[COUNTS.SECONDS] = processorSeconds() - before;
pair.close();
parentPort?.postMessage('done');
