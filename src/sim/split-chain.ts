/** Following the descriptor chains of a split virtqueue (VIRTIO 1.3, 2.7.5). */
import { gather, segmentAt, totalLength, type Chain, type Segment } from './chain.js';
import { hex, type SimulatedMemory } from './memory.js';
import { DriverViolation } from './violation.js';

/** Length of a descriptor in bytes. */
export const DESCRIPTOR_LENGTH = 16;

const FLAG_NEXT = 1;
const FLAG_WRITE = 2;
const FLAG_INDIRECT = 4;

const LONGEST_BUFFER = 2 ** 32;

/** What the chains of a queue are read with. */
export interface ChainContext {
  readonly memory: SimulatedMemory;
  /** The descriptor table of the ring. */
  readonly table: Segment;
  /** Number of entries of the ring. */
  readonly size: number;
  /** Whether VIRTIO_F_RING_INDIRECT_DESC was negotiated. */
  readonly indirect: boolean;
}

interface Descriptor {
  readonly index: number;
  readonly segment: Segment;
  readonly lo: number;
  readonly hi: number;
  readonly length: number;
  readonly flags: number;
  readonly next: number;
}

/**
 * Reads the chain that starts at a descriptor.
 *
 * @throws DriverViolation
 */
export function readChain(context: ChainContext, head: number): Chain {
  const reader = new ChainReader(context);
  reader.read(head);
  return reader.finish(head);
}

class ChainReader {
  readonly #context: ChainContext;
  readonly #entries: number[] = [];
  readonly #descriptors: Segment[] = [];
  readonly #readable: Segment[] = [];
  readonly #writable: Segment[] = [];
  #table: Segment;

  constructor(context: ChainContext) {
    this.#context = context;
    this.#table = context.table;
  }

  get #inIndirectTable(): boolean {
    return this.#table !== this.#context.table;
  }

  read(head: number): void {
    let next: number | undefined = head;
    while (next !== undefined) next = this.#follow(this.#descriptorAt(next));
  }

  finish(id: number): Chain {
    const length = totalLength(this.#readable) + totalLength(this.#writable);
    if (length > LONGEST_BUFFER)
      throw new DriverViolation(`the chain of descriptor ${id} has ${length} bytes`);
    return {
      id,
      entries: this.#entries,
      readable: gather(this.#readable),
      readableSegments: this.#readable,
      writableSegments: this.#writable,
      writableLength: totalLength(this.#writable),
      descriptors: this.#descriptors,
    };
  }

  /** Takes the descriptor in and says which comes next. */
  #follow(descriptor: Descriptor): number | undefined {
    this.#descriptors.push(descriptor.segment);
    if (!this.#inIndirectTable) this.#entries.push(descriptor.index);
    if ((descriptor.flags & FLAG_INDIRECT) !== 0) {
      this.#enterIndirectTable(descriptor);
      return 0;
    }
    this.#addSegment(descriptor);
    return (descriptor.flags & FLAG_NEXT) === 0 ? undefined : descriptor.next;
  }

  #descriptorAt(index: number): Descriptor {
    const count = this.#table.length / DESCRIPTOR_LENGTH;
    const name = this.#nameOf(index);
    if (index >= count) throw new DriverViolation(`${name} is beyond the table of ${count} entries`);
    const start = index * DESCRIPTOR_LENGTH;
    const bytes = this.#table.bytes.subarray(start, start + DESCRIPTOR_LENGTH);
    const view = new DataView(bytes.buffer, bytes.byteOffset, DESCRIPTOR_LENGTH);
    return {
      index,
      segment: { ...this.#table, address: this.#table.address + start, length: DESCRIPTOR_LENGTH, bytes },
      lo: view.getUint32(0, true),
      hi: view.getUint32(4, true),
      length: view.getUint32(8, true),
      flags: view.getUint16(12, true),
      next: view.getUint16(14, true),
    };
  }

  #addSegment({ index, lo, hi, length, flags }: Descriptor): void {
    const name = this.#nameOf(index);
    if (this.#readable.length + this.#writable.length === this.#context.size) {
      const loop = `has more than ${this.#context.size} elements, or is a loop`;
      throw new DriverViolation(`the descriptor chain through ${name} ${loop}`);
    }
    if (length === 0) throw new DriverViolation(`${name} describes a buffer of 0 bytes`);
    const writable = (flags & FLAG_WRITE) !== 0;
    if (!writable && this.#writable.length > 0) {
      throw new DriverViolation(`${name} is device-readable but comes after a device-writable one`);
    }
    const segment = segmentAt(this.#context.memory, `the buffer of ${name}`, { lo, hi }, length);
    (writable ? this.#writable : this.#readable).push(segment);
  }

  #enterIndirectTable({ index, lo, hi, length, flags }: Descriptor): void {
    const name = this.#nameOf(index);
    if (!this.#context.indirect) {
      throw new DriverViolation(`${name} is indirect, but VIRTIO_F_RING_INDIRECT_DESC was not negotiated`);
    }
    if (this.#inIndirectTable) throw new DriverViolation(`${name} is indirect within an indirect table`);
    if ((flags & FLAG_NEXT) !== 0) throw new DriverViolation(`${name} has both INDIRECT and NEXT set`);
    if (length === 0 || length % DESCRIPTOR_LENGTH !== 0) {
      throw new DriverViolation(`${name} has an indirect table of ${length} bytes, not a multiple of 16`);
    }
    this.#table = segmentAt(this.#context.memory, `the indirect table of ${name}`, { lo, hi }, length);
  }

  #nameOf(index: number): string {
    const where = this.#inIndirectTable ? ` of the indirect table at ${hex(this.#table.address)}` : '';
    return `descriptor ${index}${where}`;
  }
}
