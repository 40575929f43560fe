/**
 * What every virtqueue offers, whatever the format of its ring.
 *
 * Adding, publishing and notifying are three steps, because they cost differently: add a whole burst,
 * publish once, and notify once, only where the device asked for it.
 */
import type { QueueError } from '../errors.js';
import type { QueueLayout } from '../transport/transport.js';
import type { BufferTable } from './buffer-table.js';
import type { DescriptorChain } from './descriptor-chain.js';

export { NOTHING_USED } from './ring-constants.js';

/** How a ring is to work, in either format. */
export interface RingOptions {
  /** Number of the queue at the device. */
  readonly index: number;
  /** Number of descriptors, 1 to 32768. */
  readonly size: number;
  /** VIRTIO_F_RING_EVENT_IDX was negotiated. */
  readonly eventIndex: boolean;
  /** VIRTIO_F_NOTIFICATION_DATA was negotiated. */
  readonly notificationData?: boolean;
  /** Descriptors in each indirect table; 0 if VIRTIO_F_RING_INDIRECT_DESC was not negotiated or is not wanted. */
  readonly indirectEntries?: number;
}

export interface Virtqueue {
  /** Number of the queue at the device. */
  readonly index: number;
  /** Number of descriptors in the ring. */
  readonly size: number;
  /** Where the parts of the ring lie, as the device is told. */
  readonly layout: QueueLayout;
  /** Number of descriptors that are not in use. */
  readonly freeDescriptors: number;
  /** Number of buffers that were added and not yet taken back. */
  readonly outstanding: number;
  /** Why the queue is out of use, once the device has broken the protocol. */
  readonly broken: QueueError | undefined;
  /** How many bytes the device wrote into the buffer that was last taken; never more than the buffer holds. */
  readonly usedLength: number;

  /**
   * Adds one buffer that the device reads.
   *
   * @param token - the caller's name for it, 0 to 2^31 - 1; `take()` gives it back
   * @param lo - low half of the device address
   * @param hi - high half of the device address
   * @param length - in bytes, at least 1
   * @returns false if the ring is full; nothing has changed then
   */
  addReadable(token: number, lo: number, hi: number, length: number): boolean;
  /** Adds one buffer that the device writes; otherwise as {@link Virtqueue.addReadable}. */
  addWritable(token: number, lo: number, hi: number, length: number): boolean;
  /**
   * Adds one buffer made of several parts, through an indirect table where the queue has those.
   *
   * @returns false if the ring has too few free descriptors now; nothing has changed then
   * @throws QueueError QUEUE_CHAIN_INVALID if the chain can never fit
   */
  addChain(token: number, chain: DescriptorChain): boolean;
  /**
   * Adds buffers that the device reads, one descriptor each, as far as there is room.
   *
   * @param tokens - `count` entries from `from` on are added
   * @param buffers - where they lie, by token; a ring works best with always the same table
   * @returns how many were added
   */
  addReadableBurst(tokens: Int32Array, count: number, buffers: BufferTable, from?: number): number;
  /** Adds buffers that the device writes; otherwise as {@link Virtqueue.addReadableBurst}. */
  addWritableBurst(tokens: Int32Array, count: number, buffers: BufferTable, from?: number): number;
  /** Makes all that was added visible to the device. */
  publish(): void;
  /** Whether a notification must carry {@link Virtqueue.notificationData}. */
  readonly notifiesWithData: boolean;
  /**
   * The next position that is not available to the device yet: what VIRTIO_F_NOTIFICATION_DATA puts above the number
   * of the queue, 15 bits of next_off and one of next_wrap (VIRTIO 1.3, 2.9).
   */
  readonly notificationData: number;
  /** Whether the device wants to be notified of what was published since the last call. */
  needsNotification(): boolean;

  /**
   * Takes back one buffer that the device has finished.
   *
   * @returns its token, or NOTHING_USED: none is finished, or the queue is {@link Virtqueue.broken}
   */
  take(): number;
  /**
   * Takes back up to `max` buffers that the device has finished. It looks once how many those are.
   *
   * @param tokens - its entries from `from` on become their tokens
   * @param lengths - its entries from `from` on become what {@link Virtqueue.usedLength} is of a single one; for buffers
   *   that the device only reads they mean nothing
   * @param max - at most what both arrays hold from there on
   * @returns how many; 0 too where the queue is {@link Virtqueue.broken}
   */
  takeBurst(tokens: Int32Array, lengths: Int32Array, max: number, from?: number): number;
  /** Whether `take()` would find a buffer. */
  hasUsed(): boolean;

  /** Asks the device not to interrupt. A hint: it may do so all the same. */
  suppressInterrupts(): void;
  /**
   * Asks the device to interrupt once it has finished `count` more buffers.
   *
   * @returns true if that many are finished already (where a ring can not count them: if any are): no interrupt may
   *   come for them, so look again
   */
  requestInterrupt(count?: number): boolean;

  /**
   * The tokens of all buffers that were not taken, in the order in which they were added, as far as the device has left
   * the ring as it was.
   */
  outstandingTokens(): number[];
  /** Calls back for every buffer that was not taken, then starts anew. The device must have been reset. */
  reset(reclaim: (token: number) => void): void;
  /** Gives the memory of the ring back. The device must have been reset. */
  free(): void;
}
