import type { DmaRegion } from '../memory/dma.js';
import type { DescriptorChain } from './descriptor-chain.js';
import { DESCRIPTOR_SIZE } from './split-layout.js';

/**
 * The indirect tables of a ring: one for each buffer that it can hold, so that none has to be allocated on the way
 * (VIRTIO 1.3, 2.7.5.3 and 2.8.7).
 */
export class IndirectTables {
  /** Device address of each table, in halves. */
  readonly lo: Uint32Array;
  readonly hi: Uint32Array;
  private readonly words: Uint32Array;
  private readonly entries: number;

  /**
   * @param offset - where in the region the tables begin
   * @param count - number of tables
   * @param entries - descriptors in each of them; 0 for no tables at all
   */
  constructor(region: DmaRegion, offset: number, count: number, entries: number) {
    this.entries = entries;
    this.words = new Uint32Array(region.buffer, offset, count * entries * 4);
    this.lo = new Uint32Array(entries > 0 ? count : 0);
    this.hi = new Uint32Array(this.lo.length);
    for (let table = 0; table < this.lo.length; table += 1) {
      const address = region.addressOf(offset + table * entries * DESCRIPTOR_SIZE);
      this.lo[table] = address.lo;
      this.hi[table] = address.hi;
    }
  }

  /** Whether the chain is worth a table, and fits one. */
  takes(chain: DescriptorChain): boolean {
    return chain.count > 1 && chain.count <= this.entries;
  }

  /** Writes one part of a chain into a table; `lastWord` is what follows the length, by the format of the ring. */
  write(table: number, chain: DescriptorChain, part: number, lastWord: number): void {
    const word = (table * this.entries + part) << 2;
    this.words[word] = chain.lo[part];
    this.words[word + 1] = chain.hi[part];
    this.words[word + 2] = chain.lengths[part];
    this.words[word + 3] = lastWord;
  }
}
