/**
 * The device's side of a split ring, in its plainest form, written from VIRTIO 1.3, 2.7, for tests of the driver's side.
 */
import type { QueueLayout } from '../../src/transport/transport.js';
import type { PlainMemory } from '../support/plain-memory.js';
import { appendPart, readDescriptor, type Part, type RingDevice, type Taken } from './device.js';

export class SplitDevice implements RingDevice {
  /** Entries of the available ring that were taken, and entries of the used ring that were written, in all. */
  seen = 0;
  used = 0;
  private readonly memory: Pick<PlainMemory, 'bytesAt'>;
  private readonly layout: QueueLayout;
  private readonly eventIndex: boolean;

  constructor(memory: Pick<PlainMemory, 'bytesAt'>, layout: QueueLayout, eventIndex: boolean) {
    this.memory = memory;
    this.layout = layout;
    this.eventIndex = eventIndex;
  }

  get availableIdx(): number {
    return this.u16(this.layout.driverArea, 2);
  }

  get availableFlags(): number {
    return this.u16(this.layout.driverArea, 0);
  }

  /** How many buffers wait to be taken. */
  get pending(): number {
    return (this.availableIdx - this.seen) & 0xffff;
  }

  take(): Taken | undefined {
    if (this.pending === 0) return undefined;
    const head = this.u16(this.layout.driverArea, 4 + 2 * (this.seen % this.layout.size));
    this.seen += 1;
    return { id: head, parts: this.chain(head) };
  }

  /** Returns a buffer; says whether the driver asked for an interrupt. */
  return(head: number, length: number): boolean {
    this.writeEntry(head, length);
    return this.advance(1);
  }

  returnBatch(heads: readonly number[], length: number): boolean {
    this.writeEntry(heads.at(-1) ?? -1, length);
    return this.advance(heads.length);
  }

  /** Writes a used entry without moving the index. */
  writeEntry(id: number, length: number, ahead = 0): void {
    const entry = 4 + 8 * ((this.used + ahead) % this.layout.size);
    this.put32(entry, id);
    this.put32(entry + 4, length);
  }

  /** Moves the used index on by that many entries; says whether the driver asked for an interrupt (2.7.7.2, 2.7.10). */
  advance(count: number): boolean {
    const before = this.used & 0xffff;
    this.used += count;
    const now = this.used & 0xffff;
    this.put16(2, now);
    if (!this.eventIndex) return (this.availableFlags & 1) === 0;
    const event = this.u16(this.layout.driverArea, 4 + 2 * this.layout.size);
    return ((now - event - 1) & 0xffff) < ((now - before) & 0xffff);
  }

  /** Goes to sleep: asks to be notified of the next buffer. Says whether some came in the meantime. */
  sleep(): boolean {
    if (this.eventIndex) this.put16(4 + 8 * this.layout.size, this.seen & 0xffff);
    else this.put16(0, 0);
    return this.pending > 0;
  }

  /** Asks not to be notified. */
  suppressNotifications(): void {
    if (this.eventIndex) this.put16(4 + 8 * this.layout.size, (this.seen - 1) & 0xffff);
    else this.put16(0, 1);
  }

  setUsedFlags(flags: number): void {
    this.put16(0, flags);
  }

  setAvailEvent(event: number): void {
    this.put16(4 + 8 * this.layout.size, event);
  }

  private chain(head: number): Part[] {
    const { lo, hi } = this.layout.descriptorArea;
    const table = this.memory.bytesAt(lo, hi, 16 * this.layout.size);
    const first = readDescriptor(table, head);
    const [flags] = first.words;
    if ((flags & 4) === 0) return walk(table, head, this.layout.size);
    if (flags !== 4) throw new Error(`indirect descriptor has flags ${flags}`);
    const indirect = this.memory.bytesAt(first.lo, first.hi, first.length);
    return walk(indirect, 0, first.length / 16);
  }

  private u16({ lo, hi }: { lo: number; hi: number }, offset: number): number {
    const bytes = this.memory.bytesAt(lo, hi, offset + 2);
    return bytes[offset] | (bytes[offset + 1] << 8);
  }

  private put16(offset: number, value: number): void {
    const { lo, hi } = this.layout.deviceArea;
    this.memory.bytesAt(lo, hi, offset + 2).set([value & 0xff, (value >> 8) & 0xff], offset);
  }

  private put32(offset: number, value: number): void {
    this.put16(offset, value & 0xffff);
    this.put16(offset + 2, value >>> 16);
  }
}

function walk(table: Uint8Array, head: number, size: number): Part[] {
  const parts: Part[] = [];
  let index = head;
  while (true) {
    if (parts.length === size) throw new Error('the chain loops');
    const descriptor = readDescriptor(table, index);
    const [flags, next] = descriptor.words;
    if ((flags & 4) !== 0) throw new Error('indirect inside of a chain');
    appendPart(parts, descriptor, (flags & 2) !== 0);
    if ((flags & 1) === 0) return parts;
    index = next;
  }
}
