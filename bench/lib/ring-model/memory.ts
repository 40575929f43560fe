/** Memory of the model device: plain ArrayBuffers under addresses of their own, below 4 GiB. */
import type { DeviceAddress, DmaMemory, DmaRegion } from 'virtio-net';

const PAGE = 4096;
const FIRST_ADDRESS = 0x1000_0000;

export class ModelRegion implements DmaRegion {
  readonly base: number;
  readonly size: number;
  readonly buffer: ArrayBuffer;

  constructor(base: number, size: number) {
    this.base = base;
    this.size = size;
    this.buffer = new ArrayBuffer(size);
  }

  addressOf(offset: number): DeviceAddress {
    return { lo: this.base + offset, hi: 0 };
  }

  isContiguous(offset: number, length: number): boolean {
    return offset >= 0 && offset + length <= this.size;
  }

  free(): void {
    // The collector does it: nothing but JavaScript refers to this memory.
  }
}

export class ModelMemory implements DmaMemory {
  readonly addressing = 'physical';
  readonly behindIommu = false;
  readonly regions: ModelRegion[] = [];
  private next = FIRST_ADDRESS;

  get allocatedBytes(): number {
    return this.regions.reduce((sum, { size }) => sum + size, 0);
  }

  setAddressing(): void {
    // There is one kind of address here.
  }

  allocate(size: number): ModelRegion {
    const rounded = Math.ceil(size / PAGE) * PAGE;
    const region = new ModelRegion(this.next, rounded);
    this.next += rounded + PAGE;
    this.regions.push(region);
    return region;
  }

  /** The region in which an address lies. */
  regionAt(address: number): ModelRegion {
    const found = this.regions.find(({ base, size }) => address >= base && address < base + size);
    if (found === undefined)
      throw new Error(`The driver named the address ${address}, which it never allocated`);
    return found;
  }
}
