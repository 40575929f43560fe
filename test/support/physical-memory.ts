/** DMA memory as a device sees it without an IOMMU: each page of a region somewhere else. */
import { MemoryError } from '../../src/errors.js';
import type { AllocateOptions, DmaMemory, DmaRegion } from '../../src/memory/dma.js';
import { PlainMemory, type PlainRegion } from './plain-memory.js';

const PAGE = 4096;
/** The most that lies in a row, if that is asked for. */
const LONGEST = 2 * PAGE;

export class PhysicalMemory implements DmaMemory {
  readonly behindIommu = false;
  readonly addressing = 'physical';
  private readonly plain = new PlainMemory();
  private readonly inARow = new Set<PlainRegion>();

  get allocatedBytes(): number {
    return this.plain.allocatedBytes;
  }

  setAddressing(kind: 'iova' | 'physical'): void {
    if (kind !== 'physical') throw new Error('there is no IOMMU');
  }

  allocate(size: number, { contiguous = false }: AllocateOptions = {}): DmaRegion {
    if (contiguous && size > LONGEST)
      throw new MemoryError('MEMORY_NOT_CONTIGUOUS', `No ${size} bytes in a row`);
    const region = this.plain.allocate(size);
    if (contiguous) {
      this.inARow.add(region);
      return region;
    }
    return {
      buffer: region.buffer,
      size: region.size,
      addressOf: (offset) => region.addressOf(elsewhere(region, offset)),
      isContiguous: (offset, length) =>
        length === 0 || Math.floor(offset / PAGE) === Math.floor((offset + length - 1) / PAGE),
      free: () => region.free(),
    };
  }

  /** The bytes at a device address; they may not go beyond their page, unless that was asked for. */
  bytesAt(lo: number, hi: number, length: number): Uint8Array {
    const address = hi * 2 ** 32 + lo;
    const region = this.plain.regions.find(({ base, size }) => address >= base && address < base + size);
    if (region !== undefined && this.inARow.has(region)) return this.plain.bytesAt(lo, hi, length);
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
