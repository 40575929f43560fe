/**
 * How far two processors are from each other: what it takes a cache line to get from the one to the other.
 *
 * On a virtual machine that changes while it runs, as the host moves its processors about, and with it every result
 * that two processors bring about together, by a factor of 2 and more. So it is measured around each trial.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { WORD, WORDS } from '../programs/bounce-words.js';
import { compiledProgram } from './compile.js';
import type { Processors } from './processors.js';
import { quantile } from './statistics.js';

/**
 * How far: with a cache in common (35 to 140 ns), with none (from 500 ns on), or something between, at which results are
 * others again.
 */
export type Distance = 'near' | 'between' | 'far';
export const DISTANCES: readonly Distance[] = ['near', 'between', 'far'];

/** Nanoseconds: below the first they are near, above the second far. */
const BORDERS = [150, 400] as const;
const TRIES = 3;

export class DistanceGauge {
  private readonly memory = new SharedArrayBuffer(4 * WORDS);
  private readonly workers: readonly Worker[];
  private readonly measured: number[] = [];

  constructor({ driver, backend }: Processors) {
    this.workers = [driver, backend].map((processor, index) => {
      const workerData = { memory: this.memory, processor, isFirst: index === 0 };
      const worker = new Worker(compiledProgram('bouncer'), { workerData });
      // Failures come out where its answer is waited for.
      worker.on('error', () => undefined);
      return worker;
    });
  }

  /** Nanoseconds from the one to the other: the least of a few tries, since what interrupts them only adds to it. */
  async measure(): Promise<number> {
    let least = Infinity;
    for (let i = 0; i < TRIES; i += 1) least = Math.min(least, await this.tryOnce());
    return least;
  }

  async classify(): Promise<Distance> {
    const nanoseconds = await this.measure();
    this.measured.push(nanoseconds);
    return classOf(nanoseconds);
  }

  /** What was measured so far, in words. */
  describe(): string {
    const ranges = DISTANCES.flatMap((distance) => {
      const values = this.measured.filter((value) => classOf(value) === distance);
      if (values.length === 0) return [];
      const [low, high] = [0.1, 0.9].map((part) => Math.round(quantile(values, part)));
      return [`${low} to ${high} ns (${distance}, ${values.length} times)`];
    });
    return ranges.join(' or ');
  }

  async close(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.terminate()));
  }

  private async tryOnce(): Promise<number> {
    const words = new Int32Array(this.memory);
    Atomics.store(words, WORD.LINE, 0);
    Atomics.store(words, WORD.READY, 0);
    const answers = this.workers.map(async (worker) => {
      const answer = once(worker, 'message');
      worker.postMessage('bounce');
      const [nanoseconds] = (await answer) as [number];
      return nanoseconds;
    });
    return Math.min(...(await Promise.all(answers)));
  }
}

function classOf(nanoseconds: number): Distance {
  if (nanoseconds < BORDERS[0]) return 'near';
  return nanoseconds > BORDERS[1] ? 'far' : 'between';
}
