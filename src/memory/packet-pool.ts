import { UsageError } from '../errors.js';
import { partsOf } from './buffer-parts.js';
import type { DmaMemory, DmaRegion } from './dma.js';
import { FrameSource } from './frame-source.js';
import { HEADROOM, OWNED_BY_USER } from './packet-constants.js';
import { PacketBuffer } from './packet-buffer.js';

/** A page, which a buffer of up to this size does not straddle, so that it is contiguous for any device. */
const PAGE = 4096;
const CACHE_LINE = 64;

/**
 * A fixed number of packet buffers in one stretch of DMA memory, which need not be contiguous for the device.
 *
 * Inside the driver a buffer is a number, its index, which is also its token in a ring: what happens to every buffer on
 * its way, leaving the pool for a ring and coming back, is done in typed arrays, and touches no object.
 */
export class PacketPool {
  /** All buffers, by their index: what a ring's token leads to. */
  readonly packets: readonly PacketBuffer[];
  /** Distance in bytes from one buffer to the next, and the length of each. */
  readonly stride: number;
  /** Low half of the device address of each buffer, by its index, as a signed number. */
  readonly lo: Int32Array;
  /** All buffers one behind the other, in units of 8, 4 and 2 bytes. */
  readonly longs: BigUint64Array;
  readonly words: Int32Array;
  readonly halves: Uint16Array;
  /** Where frames are copied from. */
  readonly source: FrameSource;
  /** Called once when buffers come back after {@link wakeWhenAvailable}. */
  onAvailable: () => void = () => undefined;
  private readonly region: DmaRegion;
  /**
   * Stack of the free buffers, the first {@link available} entries: those given back last are used first, while they are in
   * the cache. Rings are filled from its end, and put there what they give back; then it is told by {@link taken} and
   * {@link returned}.
   */
  readonly stack: Int32Array;
  private top: number;
  private wanted = false;

  /**
   * @param count - number of buffers
   * @param frameCapacity - length in bytes of the longest frame that a buffer must hold
   * @throws MemoryError, VfioError if there is no memory; UsageError OPTION_INVALID for 4 GiB or more
   */
  constructor(memory: DmaMemory, count: number, frameCapacity: number) {
    // A power is a double to V8, and makes one of all that is computed with it.
    const stride = bufferSize(frameCapacity, memory) | 0;
    // Places in the memory are computed in 32 bits.
    if (count * stride >= 2 ** 32) throw tooLarge(count, stride);
    const region = memory.allocate(count * stride, { buffers: true });
    this.region = region;
    this.source = new FrameSource(region.buffer, stride);
    this.stride = stride;
    this.packets = Array.from({ length: count }, (_, index) => {
      const offset = index * stride;
      const bytes = new Uint8Array(region.buffer, offset, stride);
      return new PacketBuffer(this, index, bytes, region.addressOf(offset), partsOf(region, offset, stride));
    });
    this.lo = Int32Array.from(this.packets, ({ addressLo }) => addressLo);
    this.longs = new BigUint64Array(region.buffer, 0, (count * stride) >>> 3);
    this.words = new Int32Array(region.buffer, 0, (count * stride) >>> 2);
    this.halves = new Uint16Array(region.buffer, 0, (count * stride) >>> 1);
    this.stack = Int32Array.from(this.packets, ({ index }) => count - 1 - index);
    this.top = count;
  }

  /** Number of buffers in all. */
  get size(): number {
    return this.packets.length;
  }

  /** The most pieces in which the device sees one of the buffers. */
  get descriptorsPerBuffer(): number {
    return this.packets.reduce((most, { parts }) => Math.max(most, parts?.count ?? 1), 1);
  }

  /** Number of free buffers. */
  get available(): number {
    return this.top;
  }

  /** Takes a buffer for the user, empty, or undefined if there is none. */
  take(): PacketBuffer | undefined {
    if (this.top === 0) return undefined;
    this.top -= 1;
    return this.packets[this.stack[this.top]].handOut(0);
  }

  /**
   * Takes up to `max` buffers for the user, empty: those that came back last, in the order in which they did.
   *
   * @param batch - they are put into `batch[from]` and on
   * @returns how many; 0 if none is free
   */
  takeBatch(batch: PacketBuffer[], from: number, max: number): number {
    const { stack, packets } = this;
    const count = Math.min(max, this.top);
    const top = this.top - count;
    for (let at = 0; at < count; at = (at + 1) | 0) {
      batch[from + at] = packets[stack[(top + at) | 0]].handOut(0);
    }
    this.top = top;
    return count;
  }

  /**
   * Puts packets of the user back, as `release()` does with each: from `batch[from]` on, up to the first one that is of
   * another pool, or has segments, or is not the user's alone.
   *
   * @returns where in the batch it stopped
   */
  putBatch(batch: readonly (PacketBuffer | undefined)[], from: number, to: number): number {
    const { stack } = this;
    let { top } = this;
    let at = from;
    for (; at < to; at = (at + 1) | 0) {
      const packet = batch[at];
      // A gap in the batch must not end this with an error: what was put back by then counts.
      if (packet?.pool !== this || packet.owner !== OWNED_BY_USER || packet.following !== undefined) break;
      packet.takeBack();
      stack[top] = packet.index;
      top = (top + 1) | 0;
    }
    this.top = top;
    if (this.wanted && at > from) this.wake();
    return at;
  }

  /** The entries of the stack from `from` on, so many, have gone into a ring. */
  taken(from: number, count: number): void {
    if (from + count < this.top) this.stack.copyWithin(from, from + count, this.top);
    this.top = (this.top - count) | 0;
  }

  /** Behind the end of the stack so many buffers have come back from a ring, which have nothing linked behind them. */
  returned(count: number): void {
    this.top = (this.top + count) | 0;
    if (this.wanted && count > 0) this.wake();
  }

  /** Puts a buffer back that came from a ring, and has nothing linked behind it. */
  putToken(token: number): void {
    this.stack[this.top] = token;
    this.top += 1;
    if (this.wanted) this.wake();
  }

  /** Undoes a `take()`, as if it had not been. */
  undoTake(packet: PacketBuffer): void {
    packet.takeBack();
    this.stack[this.top] = packet.index;
    this.top += 1;
  }

  /** Puts a buffer back, with all that is linked behind it, whoever had it. The caller has checked that it may. */
  put(packet: PacketBuffer): void {
    if (packet.following !== undefined) this.putSegments(packet);
    packet.takeBack();
    this.stack[this.top] = packet.index;
    this.top += 1;
    if (this.wanted) this.wake();
  }

  /** Whether the buffer is in the pool. It takes its time: for messages only. */
  has({ index }: PacketBuffer): boolean {
    return this.stack.subarray(0, this.top).includes(index);
  }

  private putSegments(head: PacketBuffer): void {
    let segment = head.following;
    head.following = undefined;
    while (segment !== undefined) {
      const { following } = segment;
      segment.following = undefined;
      this.put(segment);
      segment = following;
    }
  }

  private wake(): void {
    this.wanted = false;
    this.onAvailable();
  }

  /** Has {@link onAvailable} called when the next buffer comes back. */
  wakeWhenAvailable(): void {
    this.wanted = true;
  }

  /** Whether somebody waits for a buffer to come back. */
  get isWanted(): boolean {
    return this.wanted;
  }

  /** Gives the memory back. The device must not use it any more. */
  free(): void {
    this.wanted = false;
    this.top = 0;
    this.source.forget();
    this.region.free();
  }
}

function tooLarge(count: number, stride: number): UsageError {
  return new UsageError('OPTION_INVALID', `${count} packet buffers of ${stride} bytes are 4 GiB or more`, {
    remedy: 'Ask for fewer ({ poolSize }), or for smaller ones ({ bufferSize }).',
  });
}

/**
 * Bytes per buffer: up to a page a power of two, so that none straddles two pages. With physical addresses those need not
 * follow each other; and behind a vIOMMU there are backends that take for granted that pages at consecutive IOVAs do
 * (DPDK 22.11), and would write into the memory of others.
 *
 * Memory that the device was given as a whole has no such pages. There it is an odd number of cache lines, so that the
 * same place of all buffers is spread over all sets of a cache. At a distance of 2048 bytes they share a thirty-second of
 * it.
 */
function bufferSize(frameCapacity: number, { hasOwnAddresses = false }: DmaMemory): number {
  const needed = HEADROOM + frameCapacity;
  const lines = Math.ceil(needed / CACHE_LINE);
  if (hasOwnAddresses) return (lines | 1) * CACHE_LINE;
  return needed > PAGE ? lines * CACHE_LINE : 2 ** Math.ceil(Math.log2(needed));
}
