/** The memory of a queue pair on both sides: what one thread allocates for it, the other finds in the same order. */
import { UsageError } from '../../errors.js';
import type { AddressKind, AllocateOptions, DeviceAddress, DmaMemory, DmaRegion } from '../../memory/dma.js';
import { PageAddresses } from '../../memory/page-addresses.js';
import type { ShareableRegion, TransportSharing } from '../../transport/sharing.js';
import type { SharedRegion } from './shared-queue-pair.js';

const PAGE = 4096;

/** Memory as a device has it, for other threads as well. Remembers what was allocated. */
export class LentMemory implements DmaMemory {
  private readonly memory: DmaMemory;
  private readonly sharing: TransportSharing;
  private readonly regions: ShareableRegion[] = [];

  constructor(memory: DmaMemory, sharing: TransportSharing) {
    this.memory = memory;
    this.sharing = sharing;
  }

  allocate(size: number, options?: AllocateOptions): DmaRegion {
    const region = this.sharing.allocate(size, options);
    this.regions.push(region);
    return region;
  }

  /** All regions, for the other thread. */
  share(): SharedRegion[] {
    return this.regions.map((region) => ({ memory: region.share(), pages: pagesOf(region) }));
  }

  get addressing(): AddressKind {
    return this.memory.addressing;
  }

  get hasOwnAddresses(): boolean {
    return this.memory.hasOwnAddresses === true;
  }

  setAddressing(): void {
    throw fixed();
  }

  get behindIommu(): boolean {
    return this.memory.behindIommu;
  }

  get allocatedBytes(): number {
    return this.memory.allocatedBytes;
  }
}

/** A region that another thread has allocated. */
class AdoptedRegion implements DmaRegion {
  readonly adopted = true;
  readonly buffer: ArrayBufferLike;
  readonly size: number;
  private readonly addresses: PageAddresses;

  constructor(buffer: ArrayBufferLike, pages: Float64Array) {
    this.buffer = buffer;
    this.size = buffer.byteLength;
    this.addresses = new PageAddresses(pages, PAGE);
  }

  addressOf(offset: number): DeviceAddress {
    return this.addresses.addressOf(offset);
  }

  isContiguous(offset: number, length: number): boolean {
    return this.addresses.isContiguous(offset, length);
  }

  free(): void {
    // It belongs to the thread that allocated it.
  }
}

/** Regions that another thread has allocated, handed out in that order. */
export class AdoptedMemory implements DmaMemory {
  readonly addressing = 'iova';
  readonly behindIommu = true;
  readonly allocatedBytes = 0;
  private readonly regions: { readonly buffer: ArrayBufferLike; readonly pages: Float64Array }[];

  readonly hasOwnAddresses: boolean;

  /** @param hasOwnAddresses - as the memory of the other thread: both lay out their buffers by that */
  constructor(
    regions: readonly { readonly buffer: ArrayBufferLike; readonly pages: Float64Array }[],
    hasOwnAddresses: boolean,
  ) {
    this.regions = [...regions];
    this.hasOwnAddresses = hasOwnAddresses;
  }

  allocate(size: number): DmaRegion {
    const region = this.regions.shift();
    if (region !== undefined && region.buffer.byteLength >= size)
      return new AdoptedRegion(region.buffer, region.pages);
    throw new UsageError('OPTION_INVALID', `The shared queue pair has no region of ${size} bytes`, {
      remedy: 'Use the same version of this library in both threads.',
    });
  }

  setAddressing(): void {
    throw fixed();
  }
}

function pagesOf(region: ShareableRegion): Float64Array {
  return Float64Array.from({ length: Math.ceil(region.size / PAGE) }, (_, page) => {
    const { lo, hi } = region.addressOf(page * PAGE);
    return hi * 2 ** 32 + lo;
  });
}

function fixed(): UsageError {
  return new UsageError('OPTION_INVALID', 'The kind of addresses can not change while memory is allocated');
}
