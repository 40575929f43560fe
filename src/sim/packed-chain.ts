/** Reading the descriptor lists of a packed virtqueue (VIRTIO 1.3, 2.8.5 to 2.8.7). */
import { ChainBuilder, nameInTable, type ChainContext } from './chain-builder.js';
import type { Chain, Segment } from './chain.js';
import {
  DESCRIPTOR_LENGTH,
  FLAG_INDIRECT,
  FLAG_NEXT,
  FLAG_WRITE,
  descriptorAt,
  type Descriptor,
} from './descriptor.js';
import { DriverViolation } from './violation.js';

/** Where in the ring a list may lie. */
export interface RingPlaces {
  /** The first descriptor of the list. */
  readonly first: number;
  /** How many descriptors from there on are not the device's already. */
  readonly free: number;
  /** Whether the descriptor, so many behind the first, was made available in the lap that it belongs to. */
  readonly isAvailable: (behind: number) => boolean;
}

/**
 * Reads the list that starts at a descriptor, which is available.
 *
 * @throws DriverViolation
 */
export function readPackedChain(context: ChainContext, places: RingPlaces): Chain {
  return new ListReader(context, places).read();
}

class ListReader {
  readonly #context: ChainContext;
  readonly #places: RingPlaces;
  readonly #builder: ChainBuilder;
  readonly #entries: number[] = [];
  /** Descriptors in an indirect table. Those in the ring change hands by themselves, not with the buffer. */
  readonly #descriptors: Segment[] = [];

  constructor(context: ChainContext, places: RingPlaces) {
    this.#context = context;
    this.#places = places;
    this.#builder = new ChainBuilder(context);
  }

  read(): Chain {
    let last = this.#follow();
    while ((last.words[1] & FLAG_NEXT) !== 0) last = this.#follow();
    // The other descriptors of a list may hold anything where the last one has the id (2.8.6).
    const [id] = last.words;
    const name = `buffer id ${id}`;
    return this.#builder.finish({ id, name, entries: this.#entries, descriptors: this.#descriptors });
  }

  /** Takes the next descriptor of the ring in. */
  #follow(): Descriptor {
    const behind = this.#entries.length;
    const index = (this.#places.first + behind) % this.#context.size;
    this.#checkPlace(behind, index);
    const descriptor = descriptorAt(this.#context.table, index);
    this.#entries.push(index);
    const [, flags] = descriptor.words;
    const name = `descriptor ${index}`;
    if ((flags & FLAG_INDIRECT) === 0) this.#builder.add(name, descriptor, flags);
    else this.#addTable(name, descriptor, flags);
    return descriptor;
  }

  #checkPlace(behind: number, index: number): void {
    const { first, free, isAvailable } = this.#places;
    const list = `the descriptor list that starts at descriptor ${first}`;
    if (behind === this.#context.size) throw new DriverViolation(`${list} has more than ${behind} elements`);
    if (behind === free) {
      throw new DriverViolation(`${list} runs into descriptor ${index}, which the device still owns`);
    }
    if (behind > 0 && !isAvailable(behind)) {
      throw new DriverViolation(
        `${list} was made available before descriptor ${index}, which it goes on with`,
      );
    }
  }

  #addTable(name: string, descriptor: Descriptor, flags: number): void {
    const table = this.#builder.indirectTable(name, descriptor, flags);
    if (this.#builder.count > 0) {
      throw new DriverViolation(`${name} is indirect, but part of a list linked by NEXT`);
    }
    const count = table.length / DESCRIPTOR_LENGTH;
    const { size } = this.#context;
    if (count > size) {
      throw new DriverViolation(
        `${name} has an indirect table of ${count} entries, but the queue has ${size}`,
      );
    }
    for (let index = 0; index < count; index++) this.#addFromTable(table, index);
  }

  #addFromTable(table: Segment, index: number): void {
    const name = nameInTable(index, table);
    const descriptor = descriptorAt(table, index);
    const [, flags] = descriptor.words;
    if ((flags & ~FLAG_WRITE) !== 0) {
      throw new DriverViolation(`${name} has the flags ${flags}, but may have WRITE (${FLAG_WRITE}) alone`);
    }
    this.#descriptors.push(descriptor.segment);
    this.#builder.add(name, descriptor, flags);
  }
}
