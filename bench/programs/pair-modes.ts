/** What the program of the queue pairs and its workers have in common. */
import type { SharedQueuePair } from 'virtio-net';

/** Words of the memory that all threads look at. */
export const SIGNAL = { GO: 0, STOP: 1, READY: 2, WORDS: 3 } as const;

export interface PairWork {
  readonly pair: SharedQueuePair;
  readonly operation: 'receive' | 'transmit';
  readonly burst: number;
  /** Length of the frames in bytes, without FCS. */
  readonly frameLength: number;
  readonly signal: SharedArrayBuffer;
  /** Frames that this worker has counted, and the processor time that it took meanwhile in seconds. */
  readonly counts: SharedArrayBuffer;
  /** The worker's place in there. */
  readonly place: number;
}

/** Words of each worker in the counts. */
export const COUNTS = { FRAMES: 0, SECONDS: 1, WORDS: 2 } as const;
