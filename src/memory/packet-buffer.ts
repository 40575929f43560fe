import { UsageError } from '../errors.js';
import type { PacketPool } from './packet-pool.js';

/** Who has a packet buffer. */
export const OWNER = {
  /** It lies in the pool. */
  POOL: 0,
  /** A program has it, or an event or iterator is handing it out. */
  USER: 1,
  /** It is in a ring: the device may read or write it at any moment. */
  DEVICE: 2,
} as const;

export type Owner = (typeof OWNER)[keyof typeof OWNER];

/**
 * Bytes kept free in front of a frame. The virtio_net_hdr lies at the end of them, so that header and frame
 * are one descriptor, and the frame starts on a cache line.
 */
export const HEADROOM = 64;

/** The frame of a packet whose memory is gone. */
const NOTHING = new Uint8Array(0);

/**
 * A buffer that the device can reach, and the frame in it. All of them are made with the pool; none is made
 * per packet.
 *
 * Ownership: a packet from `receive()` or `allocate()` is yours until you `release()` or transmit it. A packet
 * that an event or an iterator hands out is lent until the listener returns or the next iteration: `retain()` it to
 * keep it longer and `release()` it then, or transmit it, which hands it to the device.
 */
export class PacketBuffer {
  /** Number of the buffer in its pool. */
  readonly index: number;
  /** The whole buffer, headroom included. Length 0 once the device is closed. */
  readonly bytes: Uint8Array;
  /** Device address of the first byte of the buffer, in halves of 32 bits. */
  readonly addressLo: number;
  readonly addressHi: number;
  /** Offset in bytes of the frame in {@link bytes}. */
  start = HEADROOM;
  /** Length of the frame in bytes, without FCS. */
  length = 0;
  /** @internal */
  owner: Owner = OWNER.POOL;
  /** @internal How many have it: 1, and one more for each `retain()`. */
  references = 0;
  /** @internal How many of the references are those of an event or an iterator that lends the packet. */
  lenders = 0;
  /** @internal Counts the times that the buffer came back to the pool, so that a lender sees whether it is still the same lease. */
  lease = 0;
  private readonly pool: PacketPool;

  /** @internal */
  constructor(pool: PacketPool, index: number, bytes: Uint8Array, addressLo: number, addressHi: number) {
    this.pool = pool;
    this.index = index;
    this.bytes = bytes;
    this.addressLo = addressLo;
    this.addressHi = addressHi;
  }

  /**
   * The frame, from the destination address on: a view, valid as long as the packet is yours. Empty once the device
   * is closed.
   */
  get frame(): Uint8Array {
    if (this.bytes.length === 0) return NOTHING;
    return this.bytes.subarray(this.start, this.start + this.length);
  }

  /** The longest frame that the buffer can hold at its present start. */
  get capacity(): number {
    return Math.max(0, this.bytes.length - this.start);
  }

  /** A copy of the frame, valid for ever. */
  copy(): Uint8Array {
    return Uint8Array.from(this.frame);
  }

  /**
   * Copies a frame into the buffer.
   *
   * @throws UsageError FRAME_TOO_LONG if the buffer can not hold it
   */
  setFrame(frame: Uint8Array): this {
    if (frame.length > this.capacity) {
      throw new UsageError('FRAME_TOO_LONG', `A frame of ${frame.length} bytes does not fit into a buffer`, {
        remedy: `The buffer holds at most ${this.capacity} bytes.`,
      });
    }
    this.bytes.set(frame, this.start);
    this.length = frame.length;
    return this;
  }

  /**
   * Keeps a lent packet beyond the event or the iteration that lent it. Every `retain()` needs a `release()`.
   *
   * @throws UsageError PACKET_NOT_OWNED
   */
  retain(): this {
    this.checkOwned('retained');
    this.references += 1;
    return this;
  }

  /**
   * Gives the buffer back to its pool, if nobody else retains it. After `close()` it does nothing.
   *
   * @throws UsageError PACKET_NOT_OWNED if the packet was released or transmitted already
   */
  release(): void {
    if (this.bytes.length === 0) return;
    this.checkOwned('released');
    this.references -= 1;
    if (this.references === 0) this.pool.put(this);
  }

  /** Whether the packet has been with the user since the given lease. @internal */
  isLeasedAs(lease: number): boolean {
    return this.lease === lease && this.owner === OWNER.USER;
  }

  /** Lends the packet to one more. @internal */
  lend(): this {
    this.retain();
    this.lenders += 1;
    return this;
  }

  /**
   * Takes the packet back from one to whom it was lent, unless it was transmitted meanwhile, or somebody to whom it was
   * lent has released it already: each release ends one loan, and no loan but its own. @internal
   */
  endLoan(lease: number): void {
    if (!this.isLeasedAs(lease)) return;
    this.lenders -= 1;
    if (this.references > this.lenders) this.release();
  }

  private checkOwned(done: string): void {
    if (this.owner === OWNER.USER) return;
    const where = this.owner === OWNER.POOL ? 'it is back in the pool' : 'the device has it';
    throw new UsageError('PACKET_NOT_OWNED', `Packet ${this.index} can not be ${done}: ${where}`);
  }
}
