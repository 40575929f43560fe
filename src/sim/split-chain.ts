/** Following the descriptor chains of a split virtqueue (VIRTIO 1.3, 2.7.5). */
import { ChainBuilder, nameInTable, type ChainContext } from './chain-builder.js';
import type { Chain, Segment } from './chain.js';
import { DESCRIPTOR_LENGTH, FLAG_INDIRECT, FLAG_NEXT, descriptorAt, type Descriptor } from './descriptor.js';
import { DriverViolation } from './violation.js';

/**
 * Reads the chain that starts at a descriptor.
 *
 * @throws DriverViolation
 */
export function readSplitChain(context: ChainContext, head: number): Chain {
  const reader = new ChainReader(context);
  reader.read(head);
  return reader.finish(head);
}

class ChainReader {
  readonly #context: ChainContext;
  readonly #builder: ChainBuilder;
  readonly #entries: number[] = [];
  readonly #descriptors: Segment[] = [];
  #table: Segment;

  constructor(context: ChainContext) {
    this.#context = context;
    this.#builder = new ChainBuilder(context);
    this.#table = context.table;
  }

  get #inIndirectTable(): boolean {
    return this.#table !== this.#context.table;
  }

  read(head: number): void {
    let next: number | undefined = head;
    while (next !== undefined) next = this.#follow(next, this.#descriptorAt(next));
  }

  finish(id: number): Chain {
    const name = `descriptor ${id}`;
    return this.#builder.finish({ id, name, entries: this.#entries, descriptors: this.#descriptors });
  }

  /** Takes the descriptor in and says which comes next. */
  #follow(index: number, descriptor: Descriptor): number | undefined {
    const [flags, next] = descriptor.words;
    this.#descriptors.push(descriptor.segment);
    if (!this.#inIndirectTable) this.#entries.push(index);
    if ((flags & FLAG_INDIRECT) !== 0) {
      this.#enterIndirectTable(this.#nameOf(index), descriptor, flags);
      return 0;
    }
    this.#add(this.#nameOf(index), descriptor, flags);
    if ((flags & FLAG_NEXT) === 0) return undefined;
    this.#checkOrder(index, next);
    return next;
  }

  #descriptorAt(index: number): Descriptor {
    const count = this.#table.length / DESCRIPTOR_LENGTH;
    if (index < count) return descriptorAt(this.#table, index);
    throw new DriverViolation(`${this.#nameOf(index)} is beyond the table of ${count} entries`);
  }

  #add(name: string, descriptor: Descriptor, flags: number): void {
    const { size } = this.#context;
    if (this.#builder.count === size) {
      throw new DriverViolation(
        `the descriptor chain through ${name} has more than ${size} elements, or is a loop`,
      );
    }
    this.#builder.add(name, descriptor, flags);
  }

  #enterIndirectTable(name: string, descriptor: Descriptor, flags: number): void {
    this.#builder.checkIndirect(name);
    if (this.#inIndirectTable) throw new DriverViolation(`${name} is indirect within an indirect table`);
    this.#table = this.#builder.indirectTable(name, descriptor, flags);
  }

  /** With VIRTIO_F_IN_ORDER both the table of the ring and indirect ones are used in their order (2.7.5, 2.7.5.3.1). */
  #checkOrder(index: number, next: number): void {
    const { inOrder, size } = this.#context;
    const expected = this.#inIndirectTable ? index + 1 : (index + 1) % size;
    if (!inOrder || next === expected) return;
    throw new DriverViolation(
      `${this.#nameOf(index)} goes on with ${next}, but with VIRTIO_F_IN_ORDER must with ${expected}`,
    );
  }

  #nameOf(index: number): string {
    return this.#inIndirectTable ? nameInTable(index, this.#table) : `descriptor ${index}`;
  }
}
