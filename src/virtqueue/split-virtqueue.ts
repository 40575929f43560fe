/**
 * The split virtqueue, from the driver's side (VIRTIO 1.3, 2.7).
 *
 * Two rules shape this file. The device is not trusted: whatever the driver must know about a descriptor
 * it keeps in arrays of its own, and the ring memory that the device can write is read once and checked.
 * And nothing is allocated per buffer: everything is a number in a typed array.
 *
 * The words that both sides synchronise on (the two indexes, flags and event indexes) are accessed with
 * `Atomics`. V8 gives `Atomics.store` the effect of a full barrier and `Atomics.load` that of an acquire,
 * on plain ArrayBuffers too, which is what 2.7.13.3.1 and 2.7.13.4.1 ask for. All else is published by them.
 */
import { QueueError } from '../errors.js';
import type { DmaMemory, DmaRegion } from '../memory/dma.js';
import type { QueueLayout } from '../transport/transport.js';
import { checkChain, type DescriptorChain } from './descriptor-chain.js';
import { IndirectTables } from './indirect-tables.js';
import {
  AVAILABLE_NO_INTERRUPT,
  DESCRIPTOR_INDIRECT,
  DESCRIPTOR_NEXT,
  DESCRIPTOR_SIZE,
  DESCRIPTOR_WRITE,
  splitLayout,
  USED_NO_NOTIFY,
} from './split-layout.js';
import { NOTHING_USED, type Virtqueue } from './virtqueue.js';

export interface SplitVirtqueueOptions {
  /** Number of the queue at the device. */
  readonly index: number;
  /** Number of descriptors: a power of two, 1 to 32768. */
  readonly size: number;
  /** VIRTIO_F_RING_EVENT_IDX was negotiated. */
  readonly eventIndex: boolean;
  /** Descriptors in each indirect table; 0 if VIRTIO_F_RING_INDIRECT_DESC was not negotiated or is not wanted. */
  readonly indirectEntries?: number;
}

const NOT_OUTSTANDING = -1;
/** Position of flags and idx in the 16-bit view of either ring; the entries follow. */
const FLAGS = 0;
const IDX = 1;
const ENTRIES = 2;

export class SplitVirtqueue implements Virtqueue {
  readonly index: number;
  readonly size: number;
  readonly layout: QueueLayout;
  freeDescriptors: number;
  outstanding = 0;
  broken: QueueError | undefined;
  usedLength = 0;

  private readonly region: DmaRegion;
  private readonly eventIndex: boolean;
  private readonly mask: number;

  private readonly descriptors: Uint32Array;
  private readonly available: Uint16Array;
  private readonly used16: Uint16Array;
  private readonly used32: Uint32Array;
  private readonly indirectTables: IndirectTables;
  /** Positions of used_event and avail_event, behind the entries of the respective ring. */
  private readonly usedEventAt: number;
  private readonly availEventAt: number;

  /** The driver's own records, by descriptor: links of free list and chains, and what a chain's head stands for. */
  private readonly next: Uint16Array;
  private readonly tokens: Int32Array;
  private readonly writableLengths: Uint32Array;
  private readonly chainLengths: Uint16Array;
  private freeHead = 0;

  /** 16-bit ring positions: next entry to fill, what `needsNotification` last saw, next entry to take, idx last read. */
  private nextAvailable = 0;
  private lastNotified = 0;
  private nextUsed = 0;
  private seenUsed = 0;

  /** @throws MemoryError, VfioError if there is no memory for the ring */
  constructor(memory: DmaMemory, options: SplitVirtqueueOptions) {
    const { index, size, eventIndex, indirectEntries = 0 } = options;
    if (!isPowerOfTwo(size) || size > 32768) {
      throw new RangeError(`A split ring has 1 to 32768 descriptors, a power of two; not ${size}`);
    }
    this.index = index;
    this.size = size;
    this.mask = size - 1;
    this.eventIndex = eventIndex;
    this.freeDescriptors = size;

    const layout = splitLayout(size, indirectEntries);
    const region = memory.allocate(layout.total);
    this.region = region;
    this.descriptors = new Uint32Array(region.buffer, layout.descriptors, size * 4);
    this.available = new Uint16Array(region.buffer, layout.available, size + 3);
    this.used16 = new Uint16Array(region.buffer, layout.used, size * 4 + 3);
    this.used32 = new Uint32Array(region.buffer, layout.used, size * 2 + 1);
    this.indirectTables = new IndirectTables(region, layout.indirect, size, indirectEntries);
    this.usedEventAt = ENTRIES + size;
    this.availEventAt = ENTRIES + size * 4;
    this.layout = {
      size,
      descriptorArea: region.addressOf(layout.descriptors),
      driverArea: region.addressOf(layout.available),
      deviceArea: region.addressOf(layout.used),
    };

    this.next = new Uint16Array(size);
    this.tokens = new Int32Array(size);
    this.writableLengths = new Uint32Array(size);
    this.chainLengths = new Uint16Array(size);
    this.initialise();
  }

  addReadable(token: number, lo: number, hi: number, length: number): boolean {
    return this.addSingle(token, lo, hi, length, 0, 0);
  }

  addWritable(token: number, lo: number, hi: number, length: number): boolean {
    return this.addSingle(token, lo, hi, length, DESCRIPTOR_WRITE, length);
  }

  addChain(token: number, chain: DescriptorChain): boolean {
    checkChain(chain, this);
    if (this.indirectTables.takes(chain)) return this.addIndirect(token, chain);
    if (this.freeDescriptors < chain.count) return false;
    const head = this.freeHead;
    let descriptor = head;
    for (let part = 0; part < chain.count; part += 1) {
      const last = part + 1 === chain.count;
      const following = this.next[descriptor];
      const flags = (part < chain.readable ? 0 : DESCRIPTOR_WRITE) | (last ? 0 : DESCRIPTOR_NEXT);
      writeDescriptor(this.descriptors, descriptor, chain, part, flags, last ? 0 : following);
      descriptor = following;
    }
    this.freeHead = descriptor;
    this.makeAvailable(head, token, chain.count, chain.writableLength);
    return true;
  }

  publish(): void {
    Atomics.store(this.available, IDX, this.nextAvailable);
  }

  needsNotification(): boolean {
    const before = this.lastNotified;
    const now = this.nextAvailable;
    if (before === now) return false;
    this.lastNotified = now;
    if (!this.eventIndex) return (Atomics.load(this.used16, FLAGS) & USED_NO_NOTIFY) === 0;
    // Notify if avail_event lies among the entries published since (2.7.10), in 16-bit arithmetic.
    const event = Atomics.load(this.used16, this.availEventAt);
    return ((now - event - 1) & 0xffff) < ((now - before) & 0xffff);
  }

  take(): number {
    const position = this.nextUsed;
    if (position === this.seenUsed && !this.lookForUsed()) return NOTHING_USED;
    const entry = ((position & this.mask) << 1) + 1;
    const head = this.used32[entry];
    const length = this.used32[entry + 1];
    if (head >= this.size) return this.breakDown(`it returned descriptor ${head} of ${this.size}`);
    const token = this.tokens[head];
    if (token === NOT_OUTSTANDING)
      return this.breakDown(`it returned descriptor ${head}, which it did not have`);
    const writable = this.writableLengths[head];
    // For a buffer that it only reads, some devices report the bytes read (2.7.8.2 allows drivers to ignore it).
    if (length > writable && writable !== 0) {
      return this.breakDown(`it wrote ${length} bytes into a buffer of ${writable}`);
    }
    this.usedLength = writable === 0 ? 0 : length;
    this.nextUsed = (position + 1) & 0xffff;
    this.recycle(head);
    return token;
  }

  hasUsed(): boolean {
    if (this.broken !== undefined) return false;
    return this.nextUsed !== this.seenUsed || Atomics.load(this.used16, IDX) !== this.nextUsed;
  }

  suppressInterrupts(): void {
    if (this.eventIndex) {
      // An event index just behind the device's position: it comes round only after 65535 more buffers.
      Atomics.store(this.available, this.usedEventAt, (this.nextUsed - 1) & 0xffff);
    } else {
      Atomics.store(this.available, FLAGS, AVAILABLE_NO_INTERRUPT);
    }
  }

  requestInterrupt(count = 1): boolean {
    if (this.eventIndex) {
      Atomics.store(this.available, this.usedEventAt, (this.nextUsed + count - 1) & 0xffff);
    } else {
      Atomics.store(this.available, FLAGS, 0);
    }
    // The store above is a full barrier: what the device finished before it saw the request is seen here.
    return ((Atomics.load(this.used16, IDX) - this.nextUsed) & 0xffff) >= count;
  }

  reset(reclaim: (token: number) => void): void {
    const outstanding = this.tokens.filter((token) => token !== NOT_OUTSTANDING);
    this.initialise();
    for (const token of outstanding) reclaim(token);
  }

  free(): void {
    this.region.free();
  }

  private initialise(): void {
    this.descriptors.fill(0);
    this.available.fill(0);
    this.used16.fill(0);
    this.tokens.fill(NOT_OUTSTANDING);
    for (let descriptor = 0; descriptor < this.size; descriptor += 1) {
      this.next[descriptor] = (descriptor + 1) & this.mask;
    }
    this.freeHead = 0;
    this.freeDescriptors = this.size;
    this.outstanding = 0;
    this.nextAvailable = 0;
    this.lastNotified = 0;
    this.nextUsed = 0;
    this.seenUsed = 0;
    this.broken = undefined;
  }

  private addSingle(
    token: number,
    lo: number,
    hi: number,
    length: number,
    flags: number,
    writable: number,
  ): boolean {
    if (this.freeDescriptors === 0) return false;
    const head = this.freeHead;
    this.freeHead = this.next[head];
    const word = head << 2;
    this.descriptors[word] = lo;
    this.descriptors[word + 1] = hi;
    this.descriptors[word + 2] = length;
    this.descriptors[word + 3] = flags;
    this.makeAvailable(head, token, 1, writable);
    return true;
  }

  private addIndirect(token: number, chain: DescriptorChain): boolean {
    if (this.freeDescriptors === 0) return false;
    const head = this.freeHead;
    this.freeHead = this.next[head];
    for (let part = 0; part < chain.count; part += 1) {
      const last = part + 1 === chain.count;
      const flags = (part < chain.readable ? 0 : DESCRIPTOR_WRITE) | (last ? 0 : DESCRIPTOR_NEXT);
      this.indirectTables.write(head, chain, part, flags | ((last ? 0 : part + 1) << 16));
    }
    const word = head << 2;
    this.descriptors[word] = this.indirectTables.lo[head];
    this.descriptors[word + 1] = this.indirectTables.hi[head];
    this.descriptors[word + 2] = chain.count * DESCRIPTOR_SIZE;
    this.descriptors[word + 3] = DESCRIPTOR_INDIRECT;
    this.makeAvailable(head, token, 1, chain.writableLength);
    return true;
  }

  private makeAvailable(head: number, token: number, descriptors: number, writable: number): void {
    this.tokens[head] = token;
    this.writableLengths[head] = writable;
    this.chainLengths[head] = descriptors;
    this.freeDescriptors -= descriptors;
    this.outstanding += 1;
    this.available[ENTRIES + (this.nextAvailable & this.mask)] = head;
    this.nextAvailable = (this.nextAvailable + 1) & 0xffff;
  }

  /** Puts the descriptors of a buffer back on the free list, following the driver's own links. */
  private recycle(head: number): void {
    const descriptors = this.chainLengths[head];
    let last = head;
    for (let step = 1; step < descriptors; step += 1) last = this.next[last];
    this.next[last] = this.freeHead;
    this.freeHead = head;
    this.freeDescriptors += descriptors;
    this.tokens[head] = NOT_OUTSTANDING;
    this.outstanding -= 1;
  }

  /** Reads the used index anew; says whether there is something to take. */
  private lookForUsed(): boolean {
    if (this.broken !== undefined) return false;
    const idx = Atomics.load(this.used16, IDX);
    const finished = (idx - this.nextUsed) & 0xffff;
    if (finished > this.outstanding) {
      this.breakDown(
        `its used index went from ${this.nextUsed} to ${idx} with ${this.outstanding} buffers out`,
      );
      return false;
    }
    this.seenUsed = idx;
    return finished !== 0;
  }

  private breakDown(how: string): typeof NOTHING_USED {
    // No entry after this one is looked at any more.
    this.seenUsed = this.nextUsed;
    this.broken = new QueueError(
      'QUEUE_BROKEN',
      `The device broke the protocol on queue ${this.index}: ${how}`,
    );
    return NOTHING_USED;
  }
}

function writeDescriptor(
  table: Uint32Array,
  descriptor: number,
  chain: DescriptorChain,
  part: number,
  flags: number,
  next: number,
): void {
  const word = descriptor << 2;
  table[word] = chain.lo[part];
  table[word + 1] = chain.hi[part];
  table[word + 2] = chain.lengths[part];
  table[word + 3] = flags | (next << 16);
}

function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(value) && value > 0 && (value & (value - 1)) === 0;
}
