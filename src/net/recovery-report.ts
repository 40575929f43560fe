/** What is told of a device that was reset, or a queue of it, and runs again. */

/** One of the two queues of a pair. */
export type Direction = 'receive' | 'transmit';

/** A queue, as the driver names it. */
export interface PairQueue {
  /** Number of the queue pair. */
  readonly queuePair: number;
  readonly direction: Direction;
}

/** Frames that a reset lost, of one queue pair. */
export interface LostFrames {
  /** Number of the queue pair. */
  readonly queuePair: number;
  /** Received frames that nobody had taken yet. */
  readonly receive: number;
  /** Frames that the device had been given, and had not finished: it may have sent them or not. */
  readonly transmit: number;
}

/** A setting that the device did not take again after its reset. */
export interface LostSetting {
  /** What it is, in words. */
  readonly setting: string;
  readonly error: Error;
}

/** What came of a reset. */
export interface RecoveryReport {
  /** What made it necessary; undefined where the program asked for it while all was well. */
  readonly reason: Error | undefined;
  /** Whether the driver did it by itself, as the option `recovery` asks for. */
  readonly automatic: boolean;
  /** The queue that was reset alone; undefined if it was the whole device. */
  readonly queue: PairQueue | undefined;
  /** Of each queue pair that was reset. */
  readonly lost: readonly LostFrames[];
  /** Empty where the device has all of its settings again. */
  readonly lostSettings: readonly LostSetting[];
}
