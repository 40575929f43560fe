/** DMA memory as a device sees it without an IOMMU: each page of a region somewhere else. */
import type { DmaMemory, DmaRegion } from '../../src/memory/dma.js';
import { PlainMemory, type PlainRegion } from './plain-memory.js';

const PAGE = 4096;

export class PhysicalMemory implements DmaMemory {
  readonly behindIommu = false;
  private readonly plain = new PlainMemory();

  get allocatedBytes(): number {
    return this.plain.allocatedBytes;
  }

  allocate(size: number): DmaRegion {
    const region = this.plain.allocate(size);
    return {
      buffer: region.buffer,
      size: region.size,
      addressOf: (offset) => region.addressOf(elsewhere(region, offset)),
      isContiguous: (offset, length) =>
        length === 0 || Math.floor(offset / PAGE) === Math.floor((offset + length - 1) / PAGE),
      free: () => region.free(),
    };
  }

  /** The bytes at a device address; they may not go beyond their page. */
  bytesAt(lo: number, hi: number, length: number): Uint8Array {
    const address = hi * 2 ** 32 + lo;
    const region = this.plain.regions.find(({ base, size }) => address >= base && address < base + size);
    const from = region === undefined ? -1 : elsewhere(region, address - region.base);
    if (region === undefined || (address % PAGE) + length > PAGE) {
      throw new Error(`stray access to ${length} bytes at ${address.toString(16)}`);
    }
    return new Uint8Array(region.buffer, from, length);
  }
}

/** The pages of a region are in reverse order, which is its own reverse. */
function elsewhere({ size }: PlainRegion, offset: number): number {
  const page = Math.floor(offset / PAGE);
  return (size / PAGE - 1 - page) * PAGE + (offset % PAGE);
}
