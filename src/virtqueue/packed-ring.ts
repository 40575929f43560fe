/**
 * What every packed virtqueue does, from the driver's side (VIRTIO 1.3, 2.8): all but taking buffers back, which depends
 * on whether the device may return them in any order. There is one ring of descriptors, which the driver makes
 * available and the device overwrites when it has used them. A wrap counter on each side tells the laps apart.
 *
 * As on the split ring, the device is not trusted: what the driver must know about a buffer it keeps in arrays of its
 * own, by buffer id. And a burst becomes visible by one store: all descriptors are written in full but for the flags
 * of the first one, and those are stored by `publish()`; the device stops at the first one that is not available.
 */
import { QueueError } from '../errors.js';
import type { DmaMemory } from '../memory/dma.js';
import type { QueueLayout } from '../transport/transport.js';
import { BufferTable } from './buffer-table.js';
import { checkChain, type DescriptorChain } from './descriptor-chain.js';
import { allocateRing, freeRing, type IndirectTables, type RingMemory } from './indirect-tables.js';
import {
  EVENTS_AT_DESCRIPTOR,
  EVENTS_DISABLED,
  EVENTS_ENABLED,
  PACKED_AVAILABLE,
  PACKED_USED,
  packedLayout,
} from './packed-layout.js';
import { inOrderOf } from './outstanding-order.js';
import { NO_TOKEN, NOTHING_USED, PACKED_STATE } from './ring-constants.js';
import { DESCRIPTOR_INDIRECT, DESCRIPTOR_NEXT, DESCRIPTOR_SIZE, DESCRIPTOR_WRITE } from './split-layout.js';
import type { RingOptions, Virtqueue } from './virtqueue.js';

/** 16-bit words of a descriptor: buffer id and flags are the last two of eight. */
export const WORDS = 8;
export const ID = 6;
const FLAGS = 7;
/** 16-bit words of an event suppression structure: descriptor offset with wrap counter, then flags. */
const OFF_WRAP = 0;
const EVENT_FLAGS = 1;
const WRAP_BIT = 1 << 15;

export abstract class PackedRing implements Virtqueue {
  readonly index: number;
  readonly size: number;
  readonly layout: QueueLayout;
  freeDescriptors: number;
  outstanding = 0;
  broken: QueueError | undefined;
  usedLength = 0;
  readonly notifiesWithData: boolean;

  /** The descriptors. */
  protected readonly words32: Int32Array;
  private readonly words64: BigUint64Array;
  protected readonly words16: Uint16Array;
  /**
   * The driver's own records, by buffer id. Tokens: see {@link NO_TOKEN}. Limits: of what was added alone, and may take
   * several descriptors, the complement of the number of bytes that the device may write into it; of what a burst added,
   * 0, since the table that it was added from tells.
   */
  protected readonly tokens: Int32Array;
  protected readonly limits: Int32Array;
  /** Of what was added alone: the number of descriptors that it takes. */
  protected readonly chainLengths: Uint16Array;
  /** Buffers outstanding that were added alone. */
  protected aloneBuffers = 0;
  /** What bursts were added from: those that are outstanding all from this table, and with these flags. */
  protected described = new BufferTable(1);
  protected describedFlags = 0;
  /**
   * 1 as long as the device returns buffers in the order in which it got them, as most do: then the id of a buffer is the
   * place of its first descriptor. Otherwise 0, and free ids wait in a queue. A number: V8 compares those faster than
   * booleans.
   */
  protected inTurn = 1;
  protected readonly freeIds: Uint16Array;
  private nextFree = 0;
  protected lastFree = 0;
  /** Buffers outstanding that take more than one descriptor. */
  protected longBuffers = 0;

  /** Next descriptor to look for, and the flags that mark one as used in this lap. */
  protected nextUsed = 0;
  protected usedFlags = PACKED_AVAILABLE | PACKED_USED;

  /** Where `take()` puts what it takes. */
  private readonly oneToken = new Int32Array(1);
  private readonly oneLength = new Int32Array(1);
  private readonly memory: RingMemory;
  private readonly eventIndex: boolean;

  private readonly driverEvents: Uint16Array;
  private readonly deviceEvents: Uint32Array;
  private readonly indirectTables: IndirectTables;

  /** Next descriptor to fill, and the flags that make one available in this lap. */
  private nextAvailable = 0;
  private availableFlags = PACKED_AVAILABLE;
  /** The first descriptor that was filled but not published, and the flags that it is still to get. */
  private heldBack = -1;
  private heldFlags = 0;
  /** Descriptors filled since `needsNotification` was asked last. */
  private added = 0;

  /** @throws MemoryError, VfioError if there is no memory for the ring */
  constructor(memory: DmaMemory, options: RingOptions) {
    const { index, size, eventIndex, indirectEntries = 0, notificationData = false } = options;
    if (!Number.isInteger(size) || size < 1 || size > 32768) {
      throw new RangeError(`A packed ring has 1 to 32768 descriptors, not ${size}`);
    }
    this.index = index;
    this.size = size;
    this.eventIndex = eventIndex;
    this.notifiesWithData = notificationData;
    this.freeDescriptors = size;

    const layout = packedLayout(size);
    this.memory = allocateRing(memory, layout, size, indirectEntries);
    const { region, tables } = this.memory;
    this.indirectTables = tables;
    this.words32 = new Int32Array(region.buffer, layout.descriptors, size * 4);
    this.words64 = new BigUint64Array(region.buffer, layout.descriptors, size * 2);
    this.words16 = new Uint16Array(region.buffer, layout.descriptors, size * WORDS);
    this.driverEvents = new Uint16Array(region.buffer, layout.driverEvents, 2);
    this.deviceEvents = new Uint32Array(region.buffer, layout.deviceEvents, 1);
    this.layout = {
      size,
      descriptorArea: region.addressOf(layout.descriptors),
      driverArea: region.addressOf(layout.driverEvents),
      deviceArea: region.addressOf(layout.deviceEvents),
    };

    this.tokens = new Int32Array(size);
    this.limits = new Int32Array(size);
    this.chainLengths = new Uint16Array(size);
    this.freeIds = new Uint16Array(size);
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
    const id = this.takeId(token, chain.count, chain.writableLength);
    for (let part = 0; part < chain.count; part += 1) {
      const next = part + 1 === chain.count ? 0 : DESCRIPTOR_NEXT;
      const flags = (part < chain.readable ? 0 : DESCRIPTOR_WRITE) | next;
      this.fill(id, chain.lo[part], chain.hi[part], chain.lengths[part], flags);
    }
    return true;
  }

  publish(): void {
    if (this.heldBack < 0) return;
    Atomics.store(this.words16, this.heldBack * WORDS + FLAGS, this.heldFlags);
    this.heldBack = -1;
  }

  /** Offset of the next descriptor that is not published, with its wrap counter above (2.9). */
  get notificationData(): number {
    const isHeldBack = this.heldBack >= 0;
    const flags = isHeldBack ? this.heldFlags : this.availableFlags;
    return (
      (isHeldBack ? this.heldBack : this.nextAvailable) | ((flags & PACKED_AVAILABLE) === 0 ? 0 : WRAP_BIT)
    );
  }

  needsNotification(): boolean {
    const { added } = this;
    if (added === 0) return false;
    this.added = 0;
    // One load of both words, so that flags and offset belong together.
    const events = Atomics.load(this.deviceEvents, 0);
    const flags = (events >>> 16) & 3;
    if (!this.eventIndex || flags !== EVENTS_AT_DESCRIPTOR) return flags !== EVENTS_DISABLED;
    return this.passed(events & 0xffff, added);
  }

  take(): number {
    this.oneLength[0] = 0;
    if (this.takeBurst(this.oneToken, this.oneLength, 1) === 0) return NOTHING_USED;
    this.usedLength = this.oneLength[0];
    return this.oneToken[0];
  }

  abstract takeBurst(tokens: Int32Array, lengths: Int32Array, max: number, from?: number): number;

  hasUsed(): boolean {
    return this.broken === undefined && this.isUsed(this.nextUsed, this.usedFlags);
  }

  suppressInterrupts(): void {
    Atomics.store(this.driverEvents, EVENT_FLAGS, EVENTS_DISABLED);
  }

  abstract requestInterrupt(count?: number): boolean;

  outstandingTokens(): number[] {
    const ids: number[] = [];
    for (let ahead = 0; ahead < this.size; ahead += 1) {
      ids.push(this.words16[((this.nextAvailable + ahead) % this.size) * WORDS + ID]);
    }
    return inOrderOf(ids, this.tokens);
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
      this.words32.fill(0);
      this.driverEvents.fill(0);
      this.deviceEvents.fill(0);
    }
    this.tokens.fill(NO_TOKEN);
    this.limits.fill(0);
    this.aloneBuffers = 0;
    this.inTurn = 1;
    this.longBuffers = 0;
    this.freeDescriptors = this.size;
    this.outstanding = 0;
    this.nextAvailable = 0;
    this.availableFlags = PACKED_AVAILABLE;
    this.heldBack = -1;
    this.added = 0;
    this.nextUsed = 0;
    this.usedFlags = PACKED_AVAILABLE | PACKED_USED;
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
    this.fill(this.takeId(token, 1, writable), lo, hi, length, flags);
    return true;
  }

  /** How this loop is written, and why: see `takeSingles()` of the split ring. */
  private addBurst(
    given: Int32Array,
    from: number,
    max: number,
    buffers: BufferTable,
    flags: number,
  ): number {
    if (buffers !== this.described || flags !== this.describedFlags) this.describeBy(buffers, flags);
    const count = Math.min(max, this.freeDescriptors);
    if (count === 0) return 0;
    const { size, words32, words64, freeIds, tokens, inTurn } = this;
    const { addresses, lengths } = buffers;
    const first = this.nextAvailable;
    let position = first;
    let state = (flags | this.availableFlags) << 16;
    let nextFree = this.nextFree;
    // The first one of what is to be published gets its flags last: until then those of the other lap.
    let hidden = 0;
    if (this.heldBack < 0) {
      this.heldBack = first;
      this.heldFlags = flags | this.availableFlags;
      hidden = PACKED_STATE;
    }
    void (words32[0] | freeIds[0] | tokens[0] | lengths[0] | given[0]);
    void (words64[0] | addresses[0]);
    const to = (from + count) | 0;
    for (let at = from | 0; at < to; at = (at + 1) | 0) {
      const token = given[at];
      const word = position << 2;
      let id = position;
      if (inTurn === 0) {
        id = freeIds[nextFree];
        nextFree = nextFree + 1 === size ? 0 : (nextFree + 1) | 0;
      }
      // Also where the descriptor had that address: in a used one it means nothing, and may be anything (2.8.4).
      words64[position << 1] = addresses[token];
      words32[word + 2] = lengths[token];
      words32[word + 3] = id | (state ^ hidden);
      hidden = 0;
      tokens[id] = token;
      position = (position + 1) | 0;
      if (position === size) {
        position = 0;
        state ^= PACKED_STATE;
      }
    }
    this.nextFree = nextFree;
    this.nextAvailable = position;
    this.availableFlags = (state >>> 16) & (PACKED_AVAILABLE | PACKED_USED);
    this.freeDescriptors -= count;
    this.outstanding += count;
    this.added += count;
    return count;
  }

  /** From now on bursts come from another table: what is outstanding of others has to be known by itself. */
  private describeBy(buffers: BufferTable, flags: number): void {
    for (let id = 0; id < this.size; id += 1) {
      if (this.tokens[id] < 0 || this.limits[id] < 0) continue;
      this.limits[id] = ~this.writableOf(id);
      this.chainLengths[id] = 1;
      this.aloneBuffers += 1;
    }
    this.described = buffers;
    this.describedFlags = flags;
  }

  private addIndirect(token: number, chain: DescriptorChain): boolean {
    if (this.freeDescriptors === 0) return false;
    const id = this.takeId(token, 1, chain.writableLength);
    for (let part = 0; part < chain.count; part += 1) {
      // In a table only the write flag means something (2.8.7); the order of the entries is that of the chain.
      this.indirectTables.write(id, chain, part, (part < chain.readable ? 0 : DESCRIPTOR_WRITE) << 16);
    }
    const length = chain.count * DESCRIPTOR_SIZE;
    this.fill(id, this.indirectTables.lo[id], this.indirectTables.hi[id], length, DESCRIPTOR_INDIRECT);
    return true;
  }

  private takeId(token: number, descriptors: number, writable: number): number {
    const id = this.inTurn === 1 ? this.nextAvailable : this.nextFreeId();
    this.tokens[id] = token;
    this.limits[id] = ~writable;
    this.chainLengths[id] = descriptors;
    this.aloneBuffers += 1;
    if (descriptors > 1) this.longBuffers += 1;
    this.outstanding += 1;
    return id;
  }

  /** The device returns buffers in another order: from now on ids are given out as they come back. */
  private leaveTurn(): void {
    this.inTurn = 0;
    this.nextFree = 0;
    this.lastFree = 0;
    for (let id = 0; id < this.size; id += 1) {
      if (this.tokens[id] >= 0) continue;
      this.freeIds[this.lastFree] = id;
      this.lastFree += 1;
    }
  }

  private nextFreeId(): number {
    const id = this.freeIds[this.nextFree];
    this.nextFree = this.nextFree + 1 === this.size ? 0 : this.nextFree + 1;
    return id;
  }

  /** Writes the next descriptor of the ring; the first one of a burst gets its flags only when it is published. */
  private fill(id: number, lo: number, hi: number, length: number, flags: number): void {
    const position = this.nextAvailable;
    const word = position << 2;
    const all = flags | this.availableFlags;
    this.words32[word] = lo;
    this.words32[word + 1] = hi;
    this.words32[word + 2] = length;
    if (this.heldBack < 0) {
      this.heldBack = position;
      this.heldFlags = all;
      this.words16[position * WORDS + ID] = id;
    } else {
      this.words32[word + 3] = id | (all << 16);
    }
    this.freeDescriptors -= 1;
    this.added += 1;
    this.nextAvailable = position + 1;
    if (this.nextAvailable === this.size) {
      this.nextAvailable = 0;
      this.availableFlags ^= PACKED_AVAILABLE | PACKED_USED;
    }
  }

  /** Asks for an interrupt when the descriptor so many behind the next one is used; says whether it is already. */
  protected requestInterruptAt(ahead: number): boolean {
    if (!this.eventIndex) {
      Atomics.store(this.driverEvents, EVENT_FLAGS, EVENTS_ENABLED);
      return this.hasUsed();
    }
    const beyond = this.nextUsed + ahead >= this.size;
    const position = beyond ? this.nextUsed + ahead - this.size : this.nextUsed + ahead;
    const usedFlags = beyond ? this.usedFlags ^ (PACKED_AVAILABLE | PACKED_USED) : this.usedFlags;
    this.driverEvents[OFF_WRAP] = position | (usedFlags & WRAP_BIT);
    Atomics.store(this.driverEvents, EVENT_FLAGS, EVENTS_AT_DESCRIPTOR);
    // The store above is a full barrier: what the device finished before it saw the request is seen here.
    return this.broken === undefined && this.isUsed(position, usedFlags);
  }

  /** How many bytes the device may write into a buffer that it has. */
  protected writableOf(id: number): number {
    const limit = this.limits[id];
    if (limit < 0) return ~limit;
    return this.describedFlags === 0 ? 0 : this.described.lengths[this.tokens[id]];
  }

  /** Takes a buffer off the records, and goes on to the descriptor behind those that it took. */
  protected release(id: number): void {
    let descriptors = 1;
    if (this.limits[id] < 0) {
      descriptors = this.chainLengths[id];
      this.limits[id] = 0;
      this.aloneBuffers -= 1;
    }
    if (this.inTurn === 1 && id !== this.nextUsed) this.leaveTurn();
    this.tokens[id] = NO_TOKEN;
    if (this.inTurn === 0) {
      this.freeIds[this.lastFree] = id;
      this.lastFree = this.lastFree + 1 === this.size ? 0 : this.lastFree + 1;
    }
    this.outstanding -= 1;
    this.freeDescriptors += descriptors;
    if (descriptors > 1) this.longBuffers -= 1;
    this.nextUsed += descriptors;
    if (this.nextUsed >= this.size) {
      this.nextUsed -= this.size;
      this.usedFlags ^= PACKED_AVAILABLE | PACKED_USED;
    }
  }

  /** Whether a used descriptor is one that the device may write; the queue is broken if not. */
  protected isValid(id: number, length: number): boolean {
    if (id < this.size && this.tokens[id] >= 0) {
      const writable = this.writableOf(id);
      // WRITE in a used descriptor should say whether the length means anything (2.8.4), but QEMU never sets it.
      // For a buffer that it only reads, some devices report the bytes read.
      if (length <= writable || writable === 0) return true;
    }
    this.refuse(id, length);
    return false;
  }

  /** Breaks the queue for a used descriptor, and says what is wrong with it. */
  private refuse(id: number, length: number): void {
    if (id >= this.size) this.breakDown(`it returned buffer ${id} of ${this.size}`);
    else if (this.tokens[id] < 0) this.breakDown(`it returned buffer ${id}, which it did not have`);
    else this.breakDown(`it wrote ${length} bytes into a buffer of ${this.writableOf(id)}`);
  }

  /** Whether the device has marked the descriptor as used in the lap that the flags stand for (2.8.1). */
  protected isUsed(position: number, usedFlags: number): boolean {
    const flags = Atomics.load(this.words16, position * WORDS + FLAGS);
    return (flags & (PACKED_AVAILABLE | PACKED_USED)) === usedFlags;
  }

  /** Whether the device's event descriptor lies among the `added` ones last filled (2.8.10, 16-bit arithmetic). */
  private passed(offWrap: number, added: number): boolean {
    const now = this.nextAvailable;
    const sameLap = ((offWrap & WRAP_BIT) !== 0) === ((this.availableFlags & PACKED_AVAILABLE) !== 0);
    const event = (offWrap & ~WRAP_BIT) - (sameLap ? 0 : this.size);
    return ((now - event - 1) & 0xffff) < added;
  }

  protected breakDown(how: string): void {
    this.broken = new QueueError(
      'QUEUE_BROKEN',
      `The device broke the protocol on queue ${this.index}: ${how}`,
    );
  }
}
