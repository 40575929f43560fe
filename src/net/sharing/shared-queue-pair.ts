/** What is handed to the thread that a queue pair is shared with, and what the two threads say to each other. */
import type { MessagePort } from 'node:worker_threads';
import type { SharedMemory } from '../../transport/sharing.js';
import type { LostFrames } from '../recovery-report.js';
import type { ControlMemory } from './control-block.js';

/** A region of memory, and the device address of each of its pages of 4096 bytes. */
export interface SharedRegion {
  readonly memory: SharedMemory;
  readonly pages: Float64Array;
}

/** All that is to be known of the device to work at its queues. */
export interface SharedSetup {
  /** Name of the device. */
  readonly device: string;
  /** The thread that opened it. */
  readonly threadId: number;
  readonly legacy: boolean;
  readonly featureBits: bigint;
  readonly mtu: number;
  readonly queueCount: number;
  /** Largest size of each of the two queues. */
  readonly queueSizes: readonly number[];
  readonly options: {
    readonly queueSize: number | undefined;
    readonly poolSize: number | undefined;
    readonly bufferSize: number | undefined;
  };
  readonly interrupts: boolean;
  readonly budget: number;
  /** How long the thread waits for frames to leave before it comes to rest, in milliseconds. */
  readonly drainTimeout: number;
  /** In the order in which a queue pair allocates them. */
  readonly regions: readonly SharedRegion[];
  /** Whether the addresses in them are of the transport's own choice. */
  readonly ownAddresses: boolean;
  /** The eventfd of each of the two queues, where there are eventfds. */
  readonly eventFds: readonly number[] | undefined;
}

/**
 * A queue pair to be handed to a worker thread, in its `workerData` or by `postMessage()`, together with its
 * `transferList`. There `attachQueuePair()` makes an {@link AttachedQueuePair} of it.
 */
export interface SharedQueuePair {
  /** Number of the pair, from 0 on. */
  readonly number: number;
  /** Has to be transferred with the handle. */
  readonly port: MessagePort;
  /** The port, for `transferList` of the worker or of `postMessage()`. */
  readonly transferList: MessagePort[];
  /** @internal */
  readonly control: ControlMemory;
  /** @internal */
  readonly setup: SharedSetup;
}

/** From the thread of the pair to that of the device. */
export type PairMessage =
  | { readonly kind: 'done'; readonly request: number; readonly lost: LostFrames }
  | {
      readonly kind: 'notify';
      readonly request: number;
      readonly queue: number;
      readonly data: number | undefined;
    }
  | { readonly kind: 'failed'; readonly request: number; readonly message: string };

/** From the thread of the device to that of the pair: look at the request, or an interrupt came for a queue. */
export type DeviceMessage =
  { readonly kind: 'look' } | { readonly kind: 'interrupt'; readonly queue: number };
