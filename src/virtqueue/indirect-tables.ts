import type { DmaMemory, DmaRegion } from '../memory/dma.js';
import type { DescriptorChain } from './descriptor-chain.js';
import { allocateStretches, clearOfPageEnd, type Stretch } from './ring-memory.js';
import { DESCRIPTOR_SIZE } from './split-layout.js';

/**
 * The indirect tables of a ring: one for each buffer that it can hold, so that none has to be allocated on the way
 * (VIRTIO 1.3, 2.7.5.3 and 2.8.7).
 */
export class IndirectTables {
  /** Device address of each table, in halves. */
  readonly lo: Uint32Array;
  readonly hi: Uint32Array;
  /** Where each table begins, in 32-bit words. */
  private readonly starts: Uint32Array;
  private readonly words: Uint32Array;
  private readonly entries: number;
  private readonly region: DmaRegion | undefined;

  /**
   * @param count - number of tables
   * @param entries - descriptors in each of them; 0 for no tables at all
   * @throws MemoryError, VfioError if there is no memory for them
   */
  constructor(memory: DmaMemory, count: number, entries: number) {
    this.entries = entries;
    const tables = entries === 0 ? [] : placeTables(count, entries * DESCRIPTOR_SIZE);
    this.lo = new Uint32Array(tables.length);
    this.hi = new Uint32Array(tables.length);
    this.starts = new Uint32Array(tables.length);
    const last = tables.at(-1);
    if (last === undefined) {
      this.words = new Uint32Array(0);
      return;
    }
    const region = allocateStretches(memory, last.offset + last.length, tables);
    this.region = region;
    this.words = new Uint32Array(region.buffer);
    for (const [table, { offset }] of tables.entries()) {
      const address = region.addressOf(offset);
      this.lo[table] = address.lo;
      this.hi[table] = address.hi;
      this.starts[table] = offset >>> 2;
    }
  }

  /** Whether the chain is worth a table, and fits one. */
  takes(chain: DescriptorChain): boolean {
    return chain.count > 1 && chain.count <= this.entries;
  }

  /** Writes one part of a chain into a table; `lastWord` is what follows the length, by the format of the ring. */
  write(table: number, chain: DescriptorChain, part: number, lastWord: number): void {
    const word = this.starts[table] + (part << 2);
    this.words[word] = chain.lo[part];
    this.words[word + 1] = chain.hi[part];
    this.words[word + 2] = chain.lengths[part];
    this.words[word + 3] = lastWord;
  }

  /** Gives the memory back. The device must have been reset. */
  free(): void {
    this.region?.free();
  }
}

/** What a ring of either format consists of in memory. */
export interface RingMemory {
  readonly region: DmaRegion;
  readonly tables: IndirectTables;
}

/**
 * Allocates the memory of a ring and its indirect tables, or nothing.
 *
 * @throws MemoryError, VfioError
 */
export function allocateRing(
  memory: DmaMemory,
  layout: { readonly total: number; readonly stretches: readonly Stretch[] },
  size: number,
  indirectEntries: number,
): RingMemory {
  const region = allocateStretches(memory, layout.total, layout.stretches);
  try {
    return { region, tables: new IndirectTables(memory, size, indirectEntries) };
  } catch (error) {
    region.free();
    throw error;
  }
}

/** Gives all memory of a ring back, the tables too where the ring itself does not go. */
export function freeRing({ region, tables }: RingMemory): void {
  try {
    tables.free();
  } finally {
    region.free();
  }
}

/** Tables behind each other, none across the end of a page that it could keep clear of. */
function placeTables(count: number, length: number): Stretch[] {
  const tables: Stretch[] = [];
  let from = 0;
  for (let table = 0; table < count; table += 1) {
    const offset = clearOfPageEnd(from, length);
    tables.push({ name: 'An indirect table', offset, length });
    from = offset + length;
  }
  return tables;
}
