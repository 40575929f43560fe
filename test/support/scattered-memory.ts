import type { DeviceAddress } from '../../src/memory/dma.js';
import { PlainMemory, type PlainRegion } from './plain-memory.js';

const PAGE = 4096;

/** Memory that the device sees in pieces: runs of so many pages, the first one of a region at the highest address. */
export class ScatteredMemory extends PlainMemory {
  private readonly run: number;

  constructor(pages = 1) {
    super();
    this.run = pages * PAGE;
  }

  override allocate(size: number): PlainRegion {
    const { run } = this;
    const region = super.allocate(Math.ceil(size / run) * run);
    const { base } = region;
    const last = region.size / run - 1;
    const runOf = (offset: number): number => Math.floor(offset / run);
    region.addressOf = (offset: number): DeviceAddress => {
      const address = base + (last - runOf(offset)) * run + (offset % run);
      return { lo: address >>> 0, hi: Math.floor(address / 2 ** 32) };
    };
    region.isContiguous = (offset, length) =>
      offset >= 0 && offset + length <= region.size && runOf(offset) === runOf(offset + length - 1);
    return region;
  }

  override bytesAt(lo: number, hi: number, length: number): Uint8Array {
    const address = hi * 2 ** 32 + lo;
    const { run } = this;
    for (const { base, size, buffer } of this.regions) {
      const at = address - base;
      if (at < 0 || at >= size) continue;
      if ((at % run) + length > run)
        throw new Error(`${length} bytes at ${address.toString(16)} are scattered`);
      return new Uint8Array(buffer, (size / run - 1 - Math.floor(at / run)) * run + (at % run), length);
    }
    throw new Error(`stray access to ${address.toString(16)}`);
  }
}
