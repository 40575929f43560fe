/**
 * A worker that bounces a cache line with another one, each on a processor of its own.
 *
 * The line is a counter that the one makes odd and the other even. The words of the shared memory lie on lines of their
 * own, so that nothing but the counter is bounced.
 */
import { parentPort, workerData } from 'node:worker_threads';
import koffi from 'koffi';
import { BOUNCES, WORD } from './bounce-words.js';

const { memory, processor, isFirst } = workerData as {
  readonly memory: SharedArrayBuffer;
  readonly processor: number;
  readonly isFirst: boolean;
};
const words = new Int32Array(memory);

/** Of the calling thread alone, which taskset would have to be told the id of. */
function pin(): void {
  const mask = new Uint8Array(128);
  mask[processor >> 3] = 1 << (processor & 7);
  const libc = koffi.load(null);
  const setAffinity = libc.func('int sched_setaffinity(int pid, size_t length, const uint8_t *mask)') as (
    pid: number,
    length: number,
    mask: Uint8Array,
  ) => number;
  if (setAffinity(0, mask.length, mask) !== 0) throw new Error(`can not run on processor ${processor}`);
}

/** Nanoseconds that the line takes from the one to the other. */
function bounce(): number {
  const first = isFirst ? 0 : 1;
  Atomics.add(words, WORD.READY, 1);
  while (Atomics.load(words, WORD.READY) < 2);
  const began = performance.now();
  for (let turn = first; turn < BOUNCES; turn += 2) {
    while (Atomics.load(words, WORD.LINE) !== turn);
    Atomics.store(words, WORD.LINE, turn + 1);
  }
  return ((performance.now() - began) * 1e6) / BOUNCES;
}

pin();
parentPort?.on('message', () => parentPort?.postMessage(bounce()));
