/**
 * What every split virtqueue does, from the driver's side (VIRTIO 1.3, 2.7): all but taking buffers back, which
 * depends on whether the device may return them in any order.
 *
 * Two rules shape this file. The device is not trusted: whatever the driver must know about a descriptor
 * it keeps in arrays of its own, and the ring memory that the device can write is read once and checked.
 * And nothing is allocated per buffer: everything is a number in a typed array.
 *
 * The words that both sides synchronise on (the two indexes, flags and event indexes) are accessed with
 * `Atomics`. V8 gives `Atomics.store` the effect of a full barrier and `Atomics.load` that of an acquire,
 * on plain ArrayBuffers too, which is what 2.7.13.3.1 and 2.7.13.4.1 ask for. All else is published by them.
 *
 * They also do for hardware (VIRTIO_F_ORDER_PLATFORM). On x86 the store is a locked instruction and all other stores are
 * in order anyway. On arm64 it is a store-release and the load a load-acquire, which stay in order among themselves, and
 * hold back what follows the load: the write that notifies comes after the load that it was decided by, so after the
 * index. And VFIO hands out those devices only whose DMA is coherent with the caches.
 */
import { QueueError } from '../errors.js';
import type { DmaMemory } from '../memory/dma.js';
import type { QueueLayout } from '../transport/transport.js';
import { checkChain, type DescriptorChain } from './descriptor-chain.js';
import { allocateRing, freeRing, type IndirectTables, type RingMemory } from './indirect-tables.js';
import {
  AVAILABLE_NO_INTERRUPT,
  DESCRIPTOR_INDIRECT,
  DESCRIPTOR_NEXT,
  DESCRIPTOR_SIZE,
  DESCRIPTOR_WRITE,
  legacySplitLayout,
  splitLayout,
  USED_NO_NOTIFY,
} from './split-layout.js';
import { inOrderOf } from './outstanding-order.js';
import { NOTHING_USED, type RingOptions, type Virtqueue } from './virtqueue.js';

/** The size is a power of two. */
export interface SplitRingOptions extends RingOptions {
  /** The device is driven through its legacy interface, which finds the three parts by the address of the first. */
  readonly legacy?: boolean;
}

/** The token of a descriptor that is not the head of a buffer that the device has. */
export const NOT_OUTSTANDING = -1;
/** Position of flags and idx in the 16-bit view of either ring; the entries follow. */
const FLAGS = 0;
const IDX = 1;
const ENTRIES = 2;

export abstract class SplitRing implements Virtqueue {
  readonly index: number;
  readonly size: number;
  readonly layout: QueueLayout;
  freeDescriptors: number;
  outstanding = 0;
  broken: QueueError | undefined;
  usedLength = 0;
  readonly notifiesWithData: boolean;

  /** Places in the rings are 16-bit positions under this mask. */
  protected readonly mask: number;
  protected readonly used32: Uint32Array;

  private readonly memory: RingMemory;
  private readonly eventIndex: boolean;
  private readonly descriptors: Uint32Array;
  private readonly available: Uint16Array;
  private readonly used16: Uint16Array;
  private readonly indirectTables: IndirectTables;
  /** Positions of used_event and avail_event, behind the entries of the respective ring. */
  private readonly usedEventAt: number;
  private readonly availEventAt: number;

  /** The driver's own records, by descriptor: links of free list and chains, and what a chain's head stands for. */
  protected readonly next: Uint16Array;
  protected readonly tokens: Int32Array;
  protected readonly writableLengths: Uint32Array;
  protected readonly chainLengths: Uint16Array;
  protected freeHead = 0;

  /** 16-bit ring positions: next entry to take, and the used index as it was last read. */
  protected nextUsed = 0;
  protected seenUsed = 0;
  /** The next entry to fill, the first one not published, and what `needsNotification` last saw. */
  private nextAvailable = 0;
  private published = 0;
  private lastNotified = 0;

  /** @throws MemoryError, VfioError if there is no memory for the ring */
  constructor(memory: DmaMemory, options: SplitRingOptions) {
    const {
      index,
      size,
      eventIndex,
      indirectEntries = 0,
      notificationData = false,
      legacy = false,
    } = options;
    if (!isPowerOfTwo(size) || size > 32768) {
      throw new RangeError(`A split ring has 1 to 32768 descriptors, a power of two; not ${size}`);
    }
    this.index = index;
    this.size = size;
    this.mask = size - 1;
    this.eventIndex = eventIndex;
    this.notifiesWithData = notificationData;
    this.freeDescriptors = size;

    const layout = legacy ? legacySplitLayout(size) : splitLayout(size);
    this.memory = allocateRing(memory, layout, size, indirectEntries);
    const { region, tables } = this.memory;
    this.indirectTables = tables;
    this.descriptors = new Uint32Array(region.buffer, layout.descriptors, size * 4);
    this.available = new Uint16Array(region.buffer, layout.available, size + 3);
    this.used16 = new Uint16Array(region.buffer, layout.used, size * 4 + 3);
    this.used32 = new Uint32Array(region.buffer, layout.used, size * 2 + 1);
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
    this.published = this.nextAvailable;
    Atomics.store(this.available, IDX, this.nextAvailable);
  }

  /** The available index: its low 15 bits are next_off, its highest one is next_wrap (2.9). */
  get notificationData(): number {
    return this.published;
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

  abstract take(): number;

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

  outstandingTokens(): number[] {
    const heads: number[] = [];
    for (let back = 1; back <= this.size; back += 1) {
      heads.push(this.available[ENTRIES + ((this.nextAvailable - back) & this.mask)]);
    }
    return inOrderOf(heads.reverse(), this.tokens, NOT_OUTSTANDING);
  }

  reset(reclaim: (token: number) => void): void {
    const outstanding = this.tokens.filter((token) => token !== NOT_OUTSTANDING);
    this.initialise();
    for (const token of outstanding) reclaim(token);
  }

  free(): void {
    freeRing(this.memory);
  }

  protected initialise(): void {
    if (this.memory.region.adopted !== true) {
      this.descriptors.fill(0);
      this.available.fill(0);
      this.used16.fill(0);
    }
    this.tokens.fill(NOT_OUTSTANDING);
    for (let descriptor = 0; descriptor < this.size; descriptor += 1) {
      this.next[descriptor] = (descriptor + 1) & this.mask;
    }
    this.freeHead = 0;
    this.freeDescriptors = this.size;
    this.outstanding = 0;
    this.nextAvailable = 0;
    this.published = 0;
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

  /** Reads the used index anew; says whether there is something to take. */
  protected lookForUsed(): boolean {
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

  /** Whether a used entry is one that the device may write; the queue is broken if not. */
  protected isValid(head: number, length: number): boolean {
    if (head < this.size && this.tokens[head] !== NOT_OUTSTANDING) {
      const writable = this.writableLengths[head];
      // For a buffer that it only reads, some devices report the bytes read (2.7.8.2 allows drivers to ignore it).
      if (length <= writable || writable === 0) return true;
    }
    this.refuse(head, length);
    return false;
  }

  /** Breaks the queue for a used entry, and says what is wrong with it. */
  protected refuse(head: number, length: number): typeof NOTHING_USED {
    if (head >= this.size) return this.breakDown(`it returned descriptor ${head} of ${this.size}`);
    if (this.tokens[head] === NOT_OUTSTANDING) {
      return this.breakDown(`it returned descriptor ${head}, which it did not have`);
    }
    return this.breakDown(`it wrote ${length} bytes into a buffer of ${this.writableLengths[head]}`);
  }

  protected breakDown(how: string): typeof NOTHING_USED {
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
