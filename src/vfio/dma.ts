/** Memory that a device behind VFIO can reach. */
import { MemoryError, UsageError, VfioError } from '../errors.js';
import type { Logger } from '../log.js';
import type { AddressKind, AllocateOptions, DmaMemory } from '../memory/dma.js';
import { PageAddresses } from '../memory/page-addresses.js';
import { MappedMemory, pageSize } from '../native/mapped-memory.js';
import { IovaRun, VfioRegion, type RegionAddresses } from './dma-region.js';
import { forEachOf } from './each.js';
import {
  chooseBackings,
  freeHugePages,
  type Backing,
  type HugePages,
  type RegionNeeds,
} from './huge-pages.js';
import { withoutHugePages, withoutMemory } from './memory-errors.js';
import { allocateRun, notContiguous, readPinnedPages } from './physical-memory.js';
import type { Pin, Pinning } from './pinning.js';

/** What the memory of a device is made with. */
export interface VfioMemoryParts {
  readonly address: string;
  readonly log: Logger;
  readonly pinning: Pinning;
  readonly hugePages: HugePages;
  readonly sysfsRoot: string;
}

/** What another kind of pages may do better. */
const TRY_NEXT = new Set<unknown>(['HUGE_PAGES_MISSING', 'MEMORY_NOT_CONTIGUOUS', 'MEMORY_NOT_PINNED']);

export class VfioMemory implements DmaMemory {
  readonly behindIommu: boolean;
  readonly #parts: VfioMemoryParts;
  readonly #regions = new Set<VfioRegion>();
  #addressing: AddressKind;
  #closed = false;
  #told = false;

  constructor(parts: VfioMemoryParts) {
    this.#parts = parts;
    this.behindIommu = parts.pinning.behindIommu;
    this.#addressing = this.behindIommu ? 'iova' : 'physical';
  }

  get allocatedBytes(): number {
    let bytes = 0;
    for (const region of this.#regions) bytes += region.size;
    return bytes;
  }

  get addressing(): AddressKind {
    return this.#addressing;
  }

  setAddressing(kind: AddressKind): void {
    if (kind === this.#addressing) return;
    if (kind === 'iova' && !this.behindIommu) {
      throw new VfioError('VFIO_IOMMU_ABSENT', `No IOMMU translates addresses for ${this.#parts.address}`);
    }
    if (this.#regions.size > 0) {
      throw new UsageError(
        'OPTION_INVALID',
        'The kind of addresses can not change while memory is allocated',
        {
          remedy: 'Free all regions first.',
        },
      );
    }
    this.#addressing = kind;
    this.#told = false;
  }

  allocate(size: number, { contiguous = false, buffers = false }: AllocateOptions = {}): VfioRegion {
    if (this.#closed) throw new UsageError('DEVICE_CLOSED', 'Memory was asked of a device that is closed');
    if (!Number.isSafeInteger(size) || size <= 0) {
      throw new UsageError('OPTION_INVALID', `A region of memory can not have ${size} bytes`, {
        remedy: 'Ask for a positive whole number of bytes.',
      });
    }
    const { page } = this.#parts.pinning;
    const needs = { size: Math.ceil(size / page) * page, addressing: this.#addressing, contiguous, buffers };
    const backings = chooseBackings(needs, this.#parts.hugePages, (huge) =>
      freeHugePages(huge, this.#parts.sysfsRoot),
    );
    return this.#allocateFirst(backings, needs);
  }

  /** Frees what is still allocated; nothing can be allocated any more. */
  close(): void {
    this.#closed = true;
    forEachOf([...this.#regions], (region) => region.free());
  }

  /** Takes the first kind of pages that will do; where none does, the first failure says why. */
  #allocateFirst(backings: readonly Backing[], needs: RegionNeeds): VfioRegion {
    let failure: unknown;
    for (const backing of backings) {
      try {
        return this.#make(backing, needs);
      } catch (error) {
        failure ??= error;
        if (!(error instanceof MemoryError && TRY_NEXT.has(error.code))) throw error;
      }
    }
    throw failure;
  }

  #make(backing: Backing, needs: RegionNeeds): VfioRegion {
    this.#parts.pinning.checkRoom(needs.size);
    const memory = allocateMemory(backing, needs);
    let pin: Pin | undefined;
    try {
      pin = this.#parts.pinning.pin(memory, backing);
      const addresses = addressesOf(memory, pin, needs);
      const region = new VfioRegion({ memory, pin, addresses }, (freed) => this.#regions.delete(freed));
      this.#regions.add(region);
      if (needs.buffers) this.#tell(backing);
      return region;
    } catch (error) {
      pin?.release();
      memory.close();
      throw error;
    }
  }

  #tell(backing: Backing): void {
    if (this.#told) return;
    this.#told = true;
    const { log, address, pinning } = this.#parts;
    const fields = { bdf: address, addressing: this.#addressing, iommu: pinning.behindIommu, pages: backing };
    log.info(fields, 'allocating packet buffers for the device');
  }
}

function addressesOf(memory: MappedMemory, pin: Pin, needs: RegionNeeds): RegionAddresses {
  if (needs.addressing === 'iova' && pin.iova !== undefined) return new IovaRun(pin.iova);
  const addresses = new PageAddresses(readPinnedPages(memory), pageSize());
  if (needs.contiguous && !addresses.isContiguous(0, needs.size)) throw notContiguous(needs.size);
  return addresses;
}

function allocateMemory(backing: Backing, { size, addressing, contiguous }: RegionNeeds): MappedMemory {
  try {
    if (backing !== 'pages') return MappedMemory.allocate(size, { hugePages: backing });
    return contiguous && addressing === 'physical' ? allocateRun(size) : MappedMemory.allocate(size);
  } catch (error) {
    throw backing === 'pages' ? withoutMemory(error, size) : withoutHugePages(error, backing, size);
  }
}
