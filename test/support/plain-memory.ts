/** DMA memory for tests: plain ArrayBuffers under made-up device addresses. */
import type { DeviceAddress, DmaMemory, DmaRegion } from '../../src/memory/dma.js';

const PAGE = 4096;

export class PlainRegion implements DmaRegion {
  readonly buffer: ArrayBuffer;
  readonly size: number;
  readonly base: number;
  freed = false;
  private readonly onFree: (region: PlainRegion) => void;

  constructor(base: number, size: number, onFree: (region: PlainRegion) => void) {
    this.base = base;
    this.size = size;
    this.buffer = new ArrayBuffer(size);
    this.onFree = onFree;
  }

  addressOf(offset: number): DeviceAddress {
    const address = this.base + offset;
    return { lo: address >>> 0, hi: Math.floor(address / 2 ** 32) };
  }

  isContiguous(offset: number, length: number): boolean {
    return offset >= 0 && offset + length <= this.size;
  }

  free(): void {
    if (this.freed) return;
    this.freed = true;
    this.onFree(this);
  }
}

export class PlainMemory implements DmaMemory {
  readonly behindIommu = false;
  readonly addressing = 'physical';
  readonly regions: PlainRegion[] = [];
  allocatedBytes = 0;
  private next: number;

  /** @param base - address of the first region; above 2^32 it takes both halves of an address */
  constructor(base = 0x10000) {
    this.next = base;
  }

  setAddressing(): void {
    // There is one kind here: what a test says the addresses are.
  }

  allocate(size: number): PlainRegion {
    const rounded = Math.ceil(size / PAGE) * PAGE;
    const region = new PlainRegion(this.next, rounded, (freed) => {
      this.allocatedBytes -= freed.size;
      this.regions.splice(this.regions.indexOf(freed), 1);
    });
    this.next += rounded + PAGE;
    this.allocatedBytes += rounded;
    this.regions.push(region);
    return region;
  }

  /** The bytes at a device address, as the device finds them. */
  bytesAt(lo: number, hi: number, length: number): Uint8Array {
    const address = hi * 2 ** 32 + lo;
    const region = this.regions.find(({ base, size }) => address >= base && address + length <= base + size);
    if (region === undefined) throw new Error(`stray access to ${address.toString(16)}`);
    return new Uint8Array(region.buffer, address - region.base, length);
  }
}
