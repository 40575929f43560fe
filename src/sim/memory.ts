/**
 * Memory that the driver and the simulated device share: plain ArrayBuffers with made-up device addresses.
 *
 * The device reaches it by address alone: what was not allocated, or was freed, is out of its reach, and an unmapped
 * page lies between any two regions so that an overrun shows. With physical addresses no page follows on the one
 * before it, as on a machine that has run for a while, so that code which takes that for granted shows as well.
 */
import { MemoryError, UsageError, VfioError } from '../errors.js';
import type { AddressKind, AllocateOptions, DeviceAddress, DmaMemory } from '../memory/dma.js';
import { PageAddresses } from '../memory/page-addresses.js';
import type { ShareableRegion } from '../transport/sharing.js';
import { AddressSpace, PAGE } from './address-space.js';
import { DriverViolation } from './violation.js';

export interface SimulatedMemoryOptions {
  /** How many bytes can be allocated at a time. */
  readonly limit: number;
  /** Whether addresses can be IOVAs, which they are at first then. */
  readonly behindIommu: boolean;
  /** Where the IOVAs end; at 4 GiB if it is left out. */
  readonly endOfAddresses?: number;
}

/** A region of the simulated memory. */
export class SimulatedRegion implements ShareableRegion {
  readonly buffer: ArrayBufferLike;
  readonly size: number;
  /** The device address of each page. */
  readonly pages: Float64Array;
  readonly #addresses: PageAddresses;
  readonly #release: (region: SimulatedRegion) => void;
  #freed = false;

  /** @param shared - whether other threads are to use it as well */
  constructor(pages: Float64Array, shared: boolean, release: (region: SimulatedRegion) => void) {
    this.size = pages.length * PAGE;
    this.buffer = allocateBuffer(this.size, shared);
    this.pages = pages;
    this.#addresses = new PageAddresses(pages, PAGE);
    this.#release = release;
  }

  /** The device address of the first byte. */
  get base(): number {
    return this.pages[0];
  }

  addressOf(offset: number): DeviceAddress {
    if (!Number.isInteger(offset) || offset < 0 || offset > this.size) {
      throw new RangeError(`offset ${offset} lies outside a DMA region of ${this.size} bytes`);
    }
    return this.#addresses.addressOf(offset);
  }

  isContiguous(offset: number, length: number): boolean {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.size)) return false;
    return this.#addresses.isContiguous(offset, length);
  }

  share(): SharedArrayBuffer {
    if (this.buffer instanceof SharedArrayBuffer) return this.buffer;
    throw new RangeError('The region was not allocated for other threads');
  }

  free(): void {
    if (this.#freed) return;
    this.#freed = true;
    this.#release(this);
    // A transferred buffer is detached: every view that someone kept has length 0 from now on. What is shared can not
    // be detached, and lives as long as anybody has a view of it.
    if (this.buffer instanceof ArrayBuffer) structuredClone(this.buffer, { transfer: [this.buffer] });
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
  readonly #addresses: AddressSpace;
  /** For each page by its address: the region that it belongs to, and where in there it begins. */
  readonly #pages = new Map<number, Location>();
  #addressing: AddressKind;
  #allocatedBytes = 0;

  constructor({ limit, behindIommu, endOfAddresses = 2 ** 32 }: SimulatedMemoryOptions) {
    this.#limit = limit;
    this.behindIommu = behindIommu;
    this.#addresses = new AddressSpace(endOfAddresses);
    this.#addressing = behindIommu ? 'iova' : 'physical';
  }

  get allocatedBytes(): number {
    return this.#allocatedBytes;
  }

  get addressing(): AddressKind {
    return this.#addressing;
  }

  setAddressing(kind: AddressKind): void {
    if (kind === this.#addressing) return;
    if (kind === 'iova' && !this.behindIommu) {
      throw new VfioError('VFIO_IOMMU_ABSENT', 'The simulated device has no IOMMU');
    }
    if (this.#allocatedBytes > 0) {
      throw new UsageError(
        'OPTION_INVALID',
        'The kind of addresses can not change while memory is allocated',
      );
    }
    this.#addressing = kind;
  }

  allocate(size: number, options: AllocateOptions = {}): SimulatedRegion {
    return this.#allocate(size, options, false);
  }

  /** As {@link allocate}, for other threads as well. */
  allocateShared(size: number, options: AllocateOptions = {}): SimulatedRegion {
    return this.#allocate(size, options, true);
  }

  #allocate(size: number, { contiguous = false }: AllocateOptions, shared: boolean): SimulatedRegion {
    if (!Number.isSafeInteger(size) || size <= 0) {
      throw new UsageError('OPTION_INVALID', `A DMA region can not have ${size} bytes`);
    }
    const count = Math.ceil(size / PAGE);
    if (this.#allocatedBytes + count * PAGE > this.#limit) {
      const state = `${this.#allocatedBytes} of ${this.#limit} bytes are allocated`;
      throw new MemoryError('MEMORY_EXHAUSTED', `No memory for ${count * PAGE} bytes: ${state}`);
    }
    const scattered = this.#addressing === 'physical' && !contiguous;
    const pages = scattered ? this.#addresses.takeScattered(count) : this.#addresses.takeRun(count);
    const region = new SimulatedRegion(pages, shared, (freed) => this.#release(freed));
    for (const [index, page] of pages.entries()) this.#pages.set(page, { region, offset: index * PAGE });
    this.#allocatedBytes += region.size;
    return region;
  }

  /**
   * Finds the `length` bytes at a device address.
   *
   * @throws DriverViolation where they are not all in one region that is allocated, or not at consecutive addresses
   */
  resolve(what: string, address: DeviceAddress, length: number): Location {
    const start = address.hi * 2 ** 32 + address.lo;
    const page = this.#pages.get(start - (start % PAGE));
    if (page === undefined) {
      throw new DriverViolation(`${what} at ${hex(start)} lies outside the allocated DMA memory`);
    }
    const { region } = page;
    const offset = page.offset + (start % PAGE);
    if (region.isContiguous(offset, length)) return { region, offset };
    throw new DriverViolation(
      offset + length > region.size
        ? `${what} of ${length} bytes at ${hex(start)} runs over the end of its DMA region`
        : `${what} of ${length} bytes at ${hex(start)} runs into a page that lies elsewhere`,
    );
  }

  #release(region: SimulatedRegion): void {
    this.onFree(region);
    for (const page of region.pages) this.#pages.delete(page);
    this.#addresses.giveBack(region.pages);
    this.#allocatedBytes -= region.size;
  }
}

/** An address as people write it. */
export function hex(address: number): string {
  return `0x${address.toString(16)}`;
}

function allocateBuffer(size: number, shared: boolean): ArrayBufferLike {
  try {
    return shared ? new SharedArrayBuffer(size) : new ArrayBuffer(size);
  } catch (cause) {
    throw new MemoryError('MEMORY_EXHAUSTED', `No memory for ${size} bytes`, { cause });
  }
}
