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
import { BufferTable } from './buffer-table.js';
import { checkChain, type DescriptorChain } from './descriptor-chain.js';
import { allocateRing, freeRing, type IndirectTables, type RingMemory } from './indirect-tables.js';
import { ENTRIES, FLAGS, IDX, NO_TOKEN, NOTHING_USED } from './ring-constants.js';
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
import type { RingOptions, Virtqueue } from './virtqueue.js';

/** The size is a power of two. */
export interface SplitRingOptions extends RingOptions {
  /** The device is driven through its legacy interface, which finds the three parts by the address of the first. */
  readonly legacy?: boolean;
}

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
  protected readonly used32: Int32Array;

  /** Where `take()` puts what it takes. */
  private readonly oneToken = new Int32Array(1);
  private readonly oneLength = new Int32Array(1);
  private readonly memory: RingMemory;
  private readonly eventIndex: boolean;
  private readonly descriptors: Int32Array;
  private readonly available: Uint16Array;
  private readonly used16: Uint16Array;
  private readonly indirectTables: IndirectTables;
  /** Positions of used_event and avail_event, behind the entries of the respective ring. */
  private readonly usedEventAt: number;
  private readonly availEventAt: number;

  /**
   * The driver's own records, by descriptor, of what begins with it. Tokens: see {@link NO_TOKEN}.
   *
   * Limits: of what was added alone, and may take several descriptors, the complement of the number of bytes that the
   * device may write into it; of what a burst added, 0, since the table that it was added from tells.
   */
  protected readonly tokens: Int32Array;
  protected readonly limits: Int32Array;
  /** Of what was added alone: the number of descriptors that it takes, and the one that follows each. */
  protected readonly chainLengths: Uint16Array;
  protected readonly next: Uint16Array;
  /** Buffers outstanding that were added alone. */
  protected aloneBuffers = 0;
  /** What bursts were added from: those that are outstanding all from this table, and with these flags. */
  protected described = new BufferTable(1);
  protected describedFlags = 0;
  /**
   * Free descriptors wait in a queue, not on a stack: where the device returns buffers in order, the available ring then
   * comes to hold what it held a lap ago, and each descriptor the buffer that it had. What does not change is not
   * written, so that its line of memory stays in the cache of the device's processor too.
   *
   * While the device keeps to that order, `inTurn` is 1: the place of a descriptor in the queue is the descriptor itself,
   * and the queue need be neither read nor written. A number: V8 compares those faster than booleans.
   */
  private readonly freeHeads: Uint16Array;
  private inTurn = 1;
  private nextFree = 0;
  protected lastFree = 0;

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
    this.descriptors = new Int32Array(region.buffer, layout.descriptors, size * 4);
    this.available = new Uint16Array(region.buffer, layout.available, size + 3);
    this.used16 = new Uint16Array(region.buffer, layout.used, size * 4 + 3);
    this.used32 = new Int32Array(region.buffer, layout.used, size * 2 + 1);
    this.usedEventAt = ENTRIES + size;
    this.availEventAt = ENTRIES + size * 4;
    this.layout = {
      size,
      descriptorArea: region.addressOf(layout.descriptors),
      driverArea: region.addressOf(layout.available),
      deviceArea: region.addressOf(layout.used),
    };

    this.tokens = new Int32Array(size);
    this.limits = new Int32Array(size);
    this.chainLengths = new Uint16Array(size);
    this.next = new Uint16Array(size);
    this.freeHeads = new Uint16Array(size);
    this.initialise();
  }

  addReadable(token: number, lo: number, hi: number, length: number): boolean {
    return this.addSingle(token, lo, hi, length, 0, 0);
  }

  addWritable(token: number, lo: number, hi: number, length: number): boolean {
    return this.addSingle(token, lo, hi, length, DESCRIPTOR_WRITE, length);
  }

  addReadableBurst(tokens: Int32Array, count: number, buffers: BufferTable, from = 0): number {
    return this.addBurst(tokens, from, count, buffers, 0);
  }

  addWritableBurst(tokens: Int32Array, count: number, buffers: BufferTable, from = 0): number {
    return this.addBurst(tokens, from, count, buffers, DESCRIPTOR_WRITE);
  }

  addChain(token: number, chain: DescriptorChain): boolean {
    checkChain(chain, this);
    if (this.indirectTables.takes(chain)) return this.addIndirect(token, chain);
    if (this.freeDescriptors < chain.count) return false;
    const head = this.takeDescriptor();
    let descriptor = head;
    for (let part = 0; part < chain.count; part += 1) {
      const last = part + 1 === chain.count;
      const following = last ? 0 : this.takeDescriptor();
      const flags = (part < chain.readable ? 0 : DESCRIPTOR_WRITE) | (last ? 0 : DESCRIPTOR_NEXT);
      writeDescriptor(this.descriptors, descriptor, chain, part, flags, following);
      this.tokens[descriptor] = NO_TOKEN;
      this.next[descriptor] = following;
      descriptor = following;
    }
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

  take(): number {
    this.oneLength[0] = 0;
    if (this.takeBurst(this.oneToken, this.oneLength, 1) === 0) return NOTHING_USED;
    this.usedLength = this.oneLength[0];
    return this.oneToken[0];
  }

  abstract takeBurst(tokens: Int32Array, lengths: Int32Array, max: number, from?: number): number;

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
    return inOrderOf(heads.reverse(), this.tokens);
  }

  reset(reclaim: (token: number) => void): void {
    const outstanding = this.tokens.filter((token) => token >= 0);
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
    this.tokens.fill(NO_TOKEN);
    this.limits.fill(0);
    this.aloneBuffers = 0;
    this.inTurn = 1;
    for (let descriptor = 0; descriptor < this.size; descriptor += 1) this.freeHeads[descriptor] = descriptor;
    this.nextFree = 0;
    this.lastFree = 0;
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
    const head = this.takeDescriptor();
    const word = head << 2;
    this.descriptors[word] = lo;
    this.descriptors[word + 1] = hi;
    this.descriptors[word + 2] = length;
    this.descriptors[word + 3] = flags;
    this.makeAvailable(head, token, 1, writable);
    return true;
  }

  /** How this loop is written, and why: see {@link takeSingles}. */
  private addBurst(
    given: Int32Array,
    from: number,
    max: number,
    buffers: BufferTable,
    flags: number,
  ): number {
    if (buffers !== this.described || flags !== this.describedFlags) this.describeBy(buffers, flags);
    const { descriptors, available, mask, freeHeads, tokens, inTurn } = this;
    const { halves, lengths } = buffers;
    const count = Math.min(max, this.freeDescriptors);
    void (descriptors[0] | available[0] | freeHeads[0] | tokens[0] | halves[0] | lengths[0] | given[0]);
    let position = this.nextAvailable;
    let nextFree = this.nextFree;
    const to = (from + count) | 0;
    for (let at = from | 0; at < to; at = (at + 1) | 0) {
      const token = given[at];
      const head = inTurn === 1 ? nextFree & mask : freeHeads[nextFree & mask];
      const word = head << 2;
      if (tokens[head] !== ~token) {
        descriptors[word] = halves[token << 1];
        descriptors[word + 1] = halves[(token << 1) + 1];
        descriptors[word + 2] = lengths[token];
        descriptors[word + 3] = flags;
      } else if (flags === 0) {
        if (descriptors[word] !== halves[token << 1]) descriptors[word] = halves[token << 1];
        if (descriptors[word + 2] !== lengths[token]) descriptors[word + 2] = lengths[token];
      }
      tokens[head] = token;
      const entry = ENTRIES + (position & mask);
      if (available[entry] !== head) available[entry] = head;
      nextFree = (nextFree + 1) | 0;
      position = (position + 1) | 0;
    }
    this.nextFree = nextFree & 0xffff;
    this.nextAvailable = position & 0xffff;
    this.freeDescriptors -= count;
    this.outstanding += count;
    return count;
  }

  /**
   * From now on bursts come from another table: what is outstanding of others has to be known by itself, and what the
   * free descriptors hold is forgotten.
   */
  private describeBy(buffers: BufferTable, flags: number): void {
    for (let head = 0; head < this.size; head += 1) {
      if (this.tokens[head] < 0) this.tokens[head] = NO_TOKEN;
      else if (this.limits[head] >= 0) {
        this.limits[head] = ~this.writableOf(head);
        this.chainLengths[head] = 1;
        this.aloneBuffers += 1;
      }
    }
    this.described = buffers;
    this.describedFlags = flags;
  }

  private addIndirect(token: number, chain: DescriptorChain): boolean {
    if (this.freeDescriptors === 0) return false;
    const head = this.takeDescriptor();
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

  /** There is one: the caller has looked. */
  private takeDescriptor(): number {
    const descriptor = this.freeHeads[this.nextFree & this.mask];
    this.nextFree = (this.nextFree + 1) & 0xffff;
    return descriptor;
  }

  private makeAvailable(head: number, token: number, descriptors: number, writable: number): void {
    this.tokens[head] = token;
    this.limits[head] = ~writable;
    this.chainLengths[head] = descriptors;
    this.aloneBuffers += 1;
    this.freeDescriptors -= descriptors;
    this.outstanding += 1;
    this.available[ENTRIES + (this.nextAvailable & this.mask)] = head;
    this.nextAvailable = (this.nextAvailable + 1) & 0xffff;
  }

  /** Number of descriptors that what begins with that one takes. */
  protected descriptorsOf(head: number): number {
    return this.limits[head] < 0 ? this.chainLengths[head] : 1;
  }

  /** How many bytes the device may write into what begins with that one, which it has. */
  protected writableOf(head: number): number {
    const limit = this.limits[head];
    if (limit < 0) return ~limit;
    return this.describedFlags === 0 ? 0 : this.described.lengths[this.tokens[head]];
  }

  /** Takes a buffer off the records, and puts its descriptors back, following the driver's own links. */
  protected recycle(head: number): void {
    const descriptors = this.descriptorsOf(head);
    if (this.limits[head] < 0) {
      this.tokens[head] = NO_TOKEN;
      this.limits[head] = 0;
      this.aloneBuffers -= 1;
    } else this.tokens[head] = ~this.tokens[head];
    let descriptor = head;
    for (let count = 0; count < descriptors; count += 1) {
      if (descriptor !== (this.lastFree & this.mask)) this.inTurn = 0;
      this.freeHeads[this.lastFree & this.mask] = descriptor;
      this.lastFree = (this.lastFree + 1) & 0xffff;
      descriptor = this.next[descriptor];
    }
    this.freeDescriptors += descriptors;
    this.outstanding -= 1;
  }

  /**
   * Takes buffers that a burst added into `given[from]` and on, up to the first one that is of another kind, or comes out of
   * turn for the first time, or that the device may not return; says where it stopped.
   *
   * The loops that each buffer goes through are written for V8. They call nothing, since behind a call, even one that is
   * never made, it checks everything anew; each typed array is touched once before, so that it is checked there and not in
   * each round; and `| 0` tells that a sum needs no check for overflow.
   */
  protected takeSingles(given: Int32Array, lengths: Int32Array, from: number, to: number): number {
    const { mask, used32, tokens, limits, freeHeads, inTurn } = this;
    const { lengths: room } = this.described;
    const written = this.describedFlags;
    const alone = this.aloneBuffers;
    void (used32[0] | tokens[0] | limits[0] | freeHeads[0] | given[0] | lengths[0] | room[0]);
    let position = this.nextUsed;
    let lastFree = this.lastFree;
    let at = from | 0;
    for (; at < to; at = (at + 1) | 0) {
      const entry = ((position & mask) << 1) + 1;
      const head = used32[entry];
      if (inTurn === 1 ? head !== (lastFree & mask) : (head & ~mask) !== 0) break;
      const token = tokens[head];
      if (token < 0 || (alone !== 0 && limits[head] < 0)) break;
      // For a buffer that it only reads, some devices report the bytes read (2.7.8.2 allows drivers to ignore it).
      if (written !== 0) {
        const length = used32[entry + 1];
        if (length < 0 || length > room[token]) break;
        lengths[at] = length;
      }
      given[at] = token;
      tokens[head] = ~token;
      if (inTurn === 0) freeHeads[lastFree & mask] = head;
      lastFree = (lastFree + 1) | 0;
      position = (position + 1) | 0;
    }
    this.nextUsed = position & 0xffff;
    this.lastFree = lastFree & 0xffff;
    this.freeDescriptors += at - from;
    this.outstanding -= at - from;
    return at;
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
    if (head < this.size && this.tokens[head] >= 0) {
      const writable = this.writableOf(head);
      // For a buffer that it only reads, some devices report the bytes read (2.7.8.2 allows drivers to ignore it).
      if (length <= writable || writable === 0) return true;
    }
    this.refuse(head, length);
    return false;
  }

  /** Breaks the queue for a used entry, and says what is wrong with it. */
  private refuse(head: number, length: number): void {
    if (head >= this.size) this.breakDown(`it returned descriptor ${head} of ${this.size}`);
    else if (this.tokens[head] < 0) this.breakDown(`it returned descriptor ${head}, which it did not have`);
    else this.breakDown(`it wrote ${length} bytes into a buffer of ${this.writableOf(head)}`);
  }

  protected breakDown(how: string): void {
    // No entry after this one is looked at any more.
    this.seenUsed = this.nextUsed;
    this.broken = new QueueError(
      'QUEUE_BROKEN',
      `The device broke the protocol on queue ${this.index}: ${how}`,
    );
  }
}

function writeDescriptor(
  table: Int32Array,
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
