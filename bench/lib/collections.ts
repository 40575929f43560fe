/** Garbage collections, with the time at which each was: of a stretch of time that is looked back upon. */
import { PerformanceObserver } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { getHeapStatistics } from 'node:v8';

export interface Collections {
  /** How many there were. */
  readonly count: number;
  /** The longest of them and all together, in milliseconds. */
  readonly longest: number;
  readonly sum: number;
}

/** The entries come with a turn of the event loop, some time after what they tell of. */
const TELLING_MILLISECONDS = 200;

export class CollectionWatch {
  private readonly seen: { readonly at: number; readonly duration: number }[] = [];
  private readonly observer = new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries()) this.seen.push({ at: startTime, duration });
  });

  constructor() {
    this.observer.observe({ entryTypes: ['gc'] });
  }

  /** The collections between two times of `performance.now()`. */
  async between(begin: number, end: number): Promise<Collections> {
    await sleep(TELLING_MILLISECONDS);
    const durations = this.seen.filter(({ at }) => at >= begin && at < end).map(({ duration }) => duration);
    return {
      count: durations.length,
      longest: Math.max(0, ...durations),
      sum: durations.reduce((sum, duration) => sum + duration, 0),
    };
  }

  stop(): void {
    this.observer.disconnect();
  }
}

/** Bytes of the heap that are in use, garbage included. */
export const heapUsed = (): number => getHeapStatistics().used_heap_size;
