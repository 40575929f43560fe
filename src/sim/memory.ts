/**
 * Memory that the driver and the simulated device share: plain ArrayBuffers with made-up device addresses.
 *
 * The device reaches it by address alone, as through an IOMMU: what was not allocated, or was freed, is out of
 * its reach, and an unmapped page lies between any two regions so that an overrun shows.
 */
import { MemoryError, UsageError } from '../errors.js';
import type { DeviceAddress, DmaMemory, DmaRegion } from '../memory/dma.js';
import { DriverViolation } from './violation.js';

const PAGE = 4096;
const LOWEST_ADDRESS = 0x1000_0000;

export interface SimulatedMemoryOptions {
  /** How many bytes can be allocated at a time. */
  readonly limit: number;
  readonly behindIommu: boolean;
  /** Where the device addresses end; at 4 GiB if it is left out. */
  readonly endOfAddresses?: number;
}

/** A region of the simulated memory. */
export class SimulatedRegion implements DmaRegion {
  readonly buffer: ArrayBuffer;
  readonly size: number;
  /** The device address of the first byte. */
  readonly base: number;
  readonly #release: (region: SimulatedRegion) => void;
  #freed = false;

  constructor(base: number, size: number, release: (region: SimulatedRegion) => void) {
    this.buffer = allocateBuffer(size);
    this.size = size;
    this.base = base;
    this.#release = release;
  }

  addressOf(offset: number): DeviceAddress {
    if (!Number.isInteger(offset) || offset < 0 || offset > this.size) {
      throw new RangeError(`offset ${offset} lies outside a DMA region of ${this.size} bytes`);
    }
    return { lo: this.base + offset, hi: 0 };
  }

  isContiguous(offset: number, length: number): boolean {
    return offset >= 0 && length >= 0 && offset + length <= this.size;
  }

  free(): void {
    if (this.#freed) return;
    this.#freed = true;
    this.#release(this);
    // A transferred buffer is detached: every view that someone kept has length 0 from now on.
    structuredClone(this.buffer, { transfer: [this.buffer] });
  }
}

/** Where a device address leads. */
export interface Location {
  readonly region: SimulatedRegion;
  readonly offset: number;
}

/** The memory of a simulated device. */
export class SimulatedMemory implements DmaMemory {
  /** Called before a region is given back. */
  onFree: (region: SimulatedRegion) => void = () => undefined;
  readonly behindIommu: boolean;
  readonly #limit: number;
  readonly #endOfAddresses: number;
  /** In the order of their addresses. */
  readonly #regions: SimulatedRegion[] = [];
  #allocatedBytes = 0;
  #next = LOWEST_ADDRESS;

  constructor({ limit, behindIommu, endOfAddresses = 2 ** 32 }: SimulatedMemoryOptions) {
    this.#limit = limit;
    this.behindIommu = behindIommu;
    this.#endOfAddresses = endOfAddresses;
  }

  get allocatedBytes(): number {
    return this.#allocatedBytes;
  }

  allocate(size: number): SimulatedRegion {
    if (!Number.isSafeInteger(size) || size <= 0) {
      throw new UsageError('OPTION_INVALID', `A DMA region can not have ${size} bytes`);
    }
    const rounded = Math.ceil(size / PAGE) * PAGE;
    if (this.#allocatedBytes + rounded > this.#limit) {
      const state = `${this.#allocatedBytes} of ${this.#limit} bytes are allocated`;
      throw new MemoryError('MEMORY_EXHAUSTED', `No memory for ${rounded} bytes: ${state}`);
    }
    const region = new SimulatedRegion(this.#findRange(rounded), rounded, (freed) => this.#release(freed));
    this.#insert(region);
    return region;
  }

  /**
   * Finds the `length` bytes at a device address.
   *
   * @throws DriverViolation where they are not all in one region that is allocated
   */
  resolve(what: string, address: DeviceAddress, length: number): Location {
    const start = address.hi * 2 ** 32 + address.lo;
    const region = this.#regions.find((one) => start >= one.base && start < one.base + one.size);
    if (region === undefined) {
      throw new DriverViolation(`${what} at ${hex(start)} lies outside the allocated DMA memory`);
    }
    const offset = start - region.base;
    if (offset + length > region.size) {
      throw new DriverViolation(
        `${what} of ${length} bytes at ${hex(start)} runs over the end of its DMA region`,
      );
    }
    return { region, offset };
  }

  /** Addresses are not reused before all were used once, so that a stale one is found out. */
  #findRange(size: number): number {
    return this.#rangeFrom(this.#next, size) ?? this.#rangeFrom(LOWEST_ADDRESS, size) ?? noAddresses(size);
  }

  #rangeFrom(lowest: number, size: number): number | undefined {
    let start = lowest;
    for (const { base, size: taken } of this.#regions) {
      if (base + taken + PAGE <= start) continue;
      if (start + size + PAGE <= base) break;
      start = base + taken + PAGE;
    }
    return start + size + PAGE <= this.#endOfAddresses ? start : undefined;
  }

  #insert(region: SimulatedRegion): void {
    const after = this.#regions.findIndex((one) => one.base > region.base);
    this.#regions.splice(after < 0 ? this.#regions.length : after, 0, region);
    this.#next = region.base + region.size + PAGE;
    this.#allocatedBytes += region.size;
  }

  #release(region: SimulatedRegion): void {
    this.onFree(region);
    this.#regions.splice(this.#regions.indexOf(region), 1);
    this.#allocatedBytes -= region.size;
  }
}

/** An address as people write it. */
export function hex(address: number): string {
  return `0x${address.toString(16)}`;
}

function allocateBuffer(size: number): ArrayBuffer {
  try {
    return new ArrayBuffer(size);
  } catch (cause) {
    throw new MemoryError('MEMORY_EXHAUSTED', `No memory for ${size} bytes`, { cause });
  }
}

function noAddresses(size: number): never {
  throw new MemoryError('IOVA_EXHAUSTED', `No device addresses for ${size} bytes`);
}
