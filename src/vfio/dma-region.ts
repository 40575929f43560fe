/** A region of memory that a device can reach. */
import type { DeviceAddress } from '../memory/dma.js';
import type { MappedMemory } from '../native/mapped-memory.js';
import type { MemoryAddress, ShareableRegion } from '../transport/sharing.js';
import type { Pin } from './pinning.js';

/** How a region looks to the device. */
export interface RegionAddresses {
  addressOf(offset: number): DeviceAddress;
  isContiguous(offset: number, length: number): boolean;
}

/** Addresses below 4 GiB, one after the other. */
export class IovaRun implements RegionAddresses {
  readonly #start: number;

  constructor(start: number) {
    this.#start = start;
  }

  addressOf(offset: number): DeviceAddress {
    const address = this.#start + offset;
    return { lo: address % 2 ** 32, hi: Math.floor(address / 2 ** 32) };
  }

  isContiguous(): boolean {
    return true;
  }
}

/** What a region is made of. */
export interface RegionParts {
  readonly memory: MappedMemory;
  readonly pin: Pin;
  readonly addresses: RegionAddresses;
}

export class VfioRegion implements ShareableRegion {
  readonly size: number;
  readonly #parts: RegionParts;
  readonly #onFreed: (region: VfioRegion) => void;
  #freed = false;

  constructor(parts: RegionParts, onFreed: (region: VfioRegion) => void) {
    this.size = parts.memory.size;
    this.#parts = parts;
    this.#onFreed = onFreed;
  }

  get buffer(): ArrayBuffer {
    return this.#parts.memory.buffer;
  }

  share(): MemoryAddress {
    this.#check(0, 0);
    const { memory } = this.#parts;
    memory.share();
    return { address: memory.address, size: memory.size };
  }

  addressOf(offset: number): DeviceAddress {
    this.#check(offset, 0);
    return this.#parts.addresses.addressOf(offset);
  }

  isContiguous(offset: number, length: number): boolean {
    this.#check(offset, length);
    return this.#parts.addresses.isContiguous(offset, length);
  }

  free(): void {
    if (this.#freed) return;
    // Where this fails, the device can still reach the memory, which stays: closing the device tries again.
    this.#parts.pin.release();
    this.#freed = true;
    this.#onFreed(this);
    this.#parts.memory.close();
  }

  #check(offset: number, length: number): void {
    if (this.#freed) throw new RangeError('The region was freed: it has no device address any more');
    if (offset >= 0 && length >= 0 && offset + length <= this.size) return;
    throw new RangeError(`No ${length} bytes at ${offset} in a region of ${this.size} bytes`);
  }
}
