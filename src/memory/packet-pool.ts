import { partsOf } from './buffer-parts.js';
import type { DmaMemory, DmaRegion } from './dma.js';
import { HEADROOM, OWNER, PacketBuffer } from './packet-buffer.js';

/** A page, which a buffer of up to this size does not straddle, so that it is contiguous for any device. */
const PAGE = 4096;
const CACHE_LINE = 64;

/** A fixed number of packet buffers in one stretch of DMA memory, which need not be contiguous for the device. */
export class PacketPool {
  /** All buffers, by their index: what a ring's token leads to. */
  readonly packets: readonly PacketBuffer[];
  /** Called once when buffers come back after {@link wakeWhenAvailable}. */
  onAvailable: () => void = () => undefined;
  private readonly region: DmaRegion;
  /** Stack of the free buffers: the one given back last is used first, while it is in the cache. */
  private readonly stack: PacketBuffer[];
  private top: number;
  private wanted = false;

  /**
   * @param count - number of buffers
   * @param frameCapacity - length in bytes of the longest frame that a buffer must hold
   * @throws MemoryError, VfioError if there is no memory
   */
  constructor(memory: DmaMemory, count: number, frameCapacity: number) {
    const stride = bufferSize(frameCapacity);
    const region = memory.allocate(count * stride, { buffers: true });
    this.region = region;
    this.packets = Array.from({ length: count }, (_, index) => {
      const offset = index * stride;
      const bytes = new Uint8Array(region.buffer, offset, stride);
      return new PacketBuffer(this, index, bytes, region.addressOf(offset), partsOf(region, offset, stride));
    });
    this.stack = this.packets.toReversed();
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
    const packet = this.stack[this.top];
    packet.owner = OWNER.USER;
    packet.references = 1;
    packet.lenders = 0;
    packet.clear();
    return packet;
  }

  /** Undoes a `take()`, as if it had not been. */
  undoTake(packet: PacketBuffer): void {
    packet.owner = OWNER.POOL;
    packet.references = 0;
    this.stack[this.top] = packet;
    this.top += 1;
  }

  /** Puts a buffer back, with all that is linked behind it, whoever had it. The caller has checked that it may. */
  put(packet: PacketBuffer): void {
    if (packet.following !== undefined) this.putSegments(packet);
    packet.owner = OWNER.POOL;
    packet.references = 0;
    packet.lease += 1;
    this.stack[this.top] = packet;
    this.top += 1;
    if (this.wanted) {
      this.wanted = false;
      this.onAvailable();
    }
  }

  private putSegments(head: PacketBuffer): void {
    let segment = head.following;
    head.following = undefined;
    while (segment !== undefined) {
      const { following } = segment;
      segment.following = undefined;
      segment.isLinked = false;
      this.put(segment);
      segment = following;
    }
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
    this.region.free();
  }
}

/** Bytes per buffer: a power of two up to a page, else whole cache lines. */
function bufferSize(frameCapacity: number): number {
  const needed = HEADROOM + frameCapacity;
  if (needed > PAGE) return Math.ceil(needed / CACHE_LINE) * CACHE_LINE;
  return 2 ** Math.ceil(Math.log2(needed));
}
