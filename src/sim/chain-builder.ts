/** Puts a buffer together from its descriptors, and holds the driver to the rules that both ring formats share. */
import { gather, segmentAt, totalLength, type Chain, type Segment } from './chain.js';
import { DESCRIPTOR_LENGTH, FLAG_NEXT, FLAG_WRITE, type Descriptor } from './descriptor.js';
import { hex, type SimulatedMemory } from './memory.js';
import { DriverViolation } from './violation.js';

const LONGEST_BUFFER = 2 ** 32;

/** What the chains of a queue are read with. */
export interface ChainContext {
  readonly memory: SimulatedMemory;
  /** The descriptors of the ring. */
  readonly table: Segment;
  /** Number of entries of the ring. */
  readonly size: number;
  /** Whether VIRTIO_F_RING_INDIRECT_DESC was negotiated. */
  readonly indirect: boolean;
  /** Whether VIRTIO_F_IN_ORDER was negotiated. */
  readonly inOrder: boolean;
}

/** What a chain is known by once it is complete. */
export type ChainIdentity = Pick<Chain, 'id' | 'name' | 'entries' | 'descriptors'>;

export class ChainBuilder {
  readonly #context: ChainContext;
  readonly #readable: Segment[] = [];
  readonly #writable: Segment[] = [];

  constructor(context: ChainContext) {
    this.#context = context;
  }

  /** Number of elements so far. */
  get count(): number {
    return this.#readable.length + this.#writable.length;
  }

  /** Adds the element that a descriptor describes. */
  add(name: string, { lo, hi, length }: Descriptor, flags: number): void {
    if (length === 0) throw new DriverViolation(`${name} describes a buffer of 0 bytes`);
    const writable = (flags & FLAG_WRITE) !== 0;
    if (!writable && this.#writable.length > 0) {
      throw new DriverViolation(`${name} is device-readable but comes after a device-writable one`);
    }
    const segment = segmentAt(this.#context.memory, `the buffer of ${name}`, { lo, hi }, length);
    (writable ? this.#writable : this.#readable).push(segment);
  }

  /** Finds the indirect table that a descriptor of the ring refers to. */
  indirectTable(name: string, { lo, hi, length }: Descriptor, flags: number): Segment {
    this.checkIndirect(name);
    if ((flags & FLAG_NEXT) !== 0) throw new DriverViolation(`${name} has both INDIRECT and NEXT set`);
    if (length === 0 || length % DESCRIPTOR_LENGTH !== 0) {
      throw new DriverViolation(`${name} has an indirect table of ${length} bytes, not a multiple of 16`);
    }
    return segmentAt(this.#context.memory, `the indirect table of ${name}`, { lo, hi }, length);
  }

  /** Checks that there may be indirect descriptors at all. */
  checkIndirect(name: string): void {
    if (this.#context.indirect) return;
    throw new DriverViolation(`${name} is indirect, but VIRTIO_F_RING_INDIRECT_DESC was not negotiated`);
  }

  finish(identity: ChainIdentity): Chain {
    const writableLength = totalLength(this.#writable);
    const length = totalLength(this.#readable) + writableLength;
    if (length > LONGEST_BUFFER)
      throw new DriverViolation(`the chain of ${identity.name} has ${length} bytes`);
    return {
      ...identity,
      readable: gather(this.#readable),
      readableSegments: this.#readable,
      writableSegments: this.#writable,
      writableLength,
    };
  }
}

/** What messages call a descriptor. */
export function nameInTable(index: number, table: Segment): string {
  return `descriptor ${index} of the indirect table at ${hex(table.address)}`;
}
