/**
 * The device's side of a packed ring, in its plainest form, written from VIRTIO 1.3, 2.8, for tests of the driver's side.
 */
import type { QueueLayout } from '../../src/transport/transport.js';
import type { PlainMemory } from '../support/plain-memory.js';
import { appendPart, readDescriptor, type Part, type RingDevice, type Taken } from './device.js';

const AVAILABLE = 1 << 7;
const USED = 1 << 15;
const ENABLED = 0;
const DISABLED = 1;
const AT_DESCRIPTOR = 2;

/** A place in the ring and the lap in which it is meant. */
interface Place {
  position: number;
  wrap: boolean;
}

export class PackedDevice implements RingDevice {
  private readonly memory: PlainMemory;
  private readonly layout: QueueLayout;
  private readonly eventIndex: boolean;
  private readonly available: Place = { position: 0, wrap: true };
  private readonly used: Place = { position: 0, wrap: true };
  /** Of each buffer that the device has, how many descriptors it takes in the ring. */
  private readonly lengths = new Map<number, number>();

  constructor(memory: PlainMemory, layout: QueueLayout, eventIndex: boolean) {
    this.memory = memory;
    this.layout = layout;
    this.eventIndex = eventIndex;
  }

  get hasAvailable(): boolean {
    const { position, wrap } = this.available;
    const flags = readDescriptor(this.table, position).words[1];
    return ((flags & AVAILABLE) !== 0) === wrap && ((flags & USED) !== 0) !== wrap;
  }

  /** Flags of the driver's event suppression. */
  get driverEventFlags(): number {
    return this.events(this.layout.driverArea)[1] & 3;
  }

  take(): Taken | undefined {
    if (!this.hasAvailable) return undefined;
    const parts: Part[] = [];
    for (let count = 1; ; count += 1) {
      const descriptor = readDescriptor(this.table, this.available.position);
      const [id, flags] = descriptor.words;
      if (((flags & AVAILABLE) !== 0) !== this.available.wrap) throw new Error('the list ends too early');
      this.step(this.available, 1);
      if ((flags & 4) !== 0) this.walkTable(parts, descriptor, flags);
      else appendPart(parts, descriptor, (flags & 2) !== 0);
      if ((flags & 1) !== 0) continue;
      if (this.lengths.has(id)) throw new Error(`buffer ${id} is available twice`);
      this.lengths.set(id, count);
      return { id, parts };
    }
  }

  return(id: number, length: number): boolean {
    return this.returnBatch([id], length);
  }

  returnBatch(ids: readonly number[], length: number): boolean {
    const before = { ...this.used };
    this.write(ids.at(-1) ?? -1, length);
    const descriptors = ids.reduce((sum, id) => sum + this.giveUp(id), 0);
    this.step(this.used, descriptors);
    return this.wantsInterrupt(before, descriptors);
  }

  /** Marks the next descriptor as used, whatever is in it. */
  write(id: number, length: number, wrap = this.used.wrap): void {
    const bytes = this.table.subarray(16 * this.used.position);
    const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
    // A device that writes descriptors as a whole: the address of a used one means nothing (2.8.4).
    view.setBigUint64(0, 0xdead_0000_0000_beefn, true);
    view.setUint32(8, length, true);
    view.setUint16(12, id, true);
    view.setUint16(14, wrap ? AVAILABLE | USED : 0, true);
  }

  sleep(): boolean {
    const { position, wrap } = this.available;
    if (this.eventIndex) this.setEvents(position | (wrap ? 1 << 15 : 0), AT_DESCRIPTOR);
    else this.setEvents(0, ENABLED);
    return this.hasAvailable;
  }

  suppressNotifications(): void {
    this.setEvents(0, DISABLED);
  }

  setEvents(offWrap: number, flags: number): void {
    const { lo, hi } = this.layout.deviceArea;
    const bytes = this.memory.bytesAt(lo, hi, 4);
    bytes.set([offWrap & 0xff, offWrap >> 8, flags & 0xff, flags >> 8]);
  }

  /** Says how many descriptors the buffer took. */
  private giveUp(id: number): number {
    const descriptors = this.lengths.get(id);
    if (descriptors === undefined) throw new Error(`the device does not have buffer ${id}`);
    this.lengths.delete(id);
    return descriptors;
  }

  private wantsInterrupt(before: Place, descriptors: number): boolean {
    const [offWrap, flags] = this.events(this.layout.driverArea);
    if ((flags & 3) !== AT_DESCRIPTOR || !this.eventIndex) return (flags & 3) === ENABLED;
    // The descriptor that the driver asks about is among those that were just used (2.8.10).
    const place = { ...before };
    for (let step = 0; step < descriptors; step += 1) {
      if (place.position === (offWrap & 0x7fff) && place.wrap === offWrap >> 15 > 0) return true;
      this.step(place, 1);
    }
    return false;
  }

  private get table(): Uint8Array {
    const { lo, hi } = this.layout.descriptorArea;
    return this.memory.bytesAt(lo, hi, 16 * this.layout.size);
  }

  private events({ lo, hi }: { lo: number; hi: number }): [number, number] {
    const bytes = this.memory.bytesAt(lo, hi, 4);
    return [bytes[0] | (bytes[1] << 8), bytes[2] | (bytes[3] << 8)];
  }

  private walkTable(
    parts: Part[],
    { lo, hi, length }: ReturnType<typeof readDescriptor>,
    flags: number,
  ): void {
    if ((flags & 3) !== 0) throw new Error(`indirect descriptor has flags ${flags}`);
    const table = this.memory.bytesAt(lo, hi, length);
    for (let index = 0; index < length / 16; index += 1) {
      const descriptor = readDescriptor(table, index);
      if ((descriptor.words[1] & ~2) !== 0) throw new Error('flags other than WRITE in an indirect table');
      appendPart(parts, descriptor, (descriptor.words[1] & 2) !== 0);
    }
  }

  private step(place: Place, count: number): void {
    place.position += count;
    if (place.position < this.layout.size) return;
    place.position -= this.layout.size;
    place.wrap = !place.wrap;
  }
}
