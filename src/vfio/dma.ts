/** Memory that the IOMMU lets a device reach. */
import { MemoryError, UsageError } from '../errors.js';
import type { DeviceAddress, DmaMemory, DmaRegion } from '../memory/dma.js';
import { ERRNO, errnoOf } from '../native/errno.js';
import { MappedMemory } from '../native/mapped-memory.js';
import { shim } from '../native/shim.js';
import { forEachOf } from './each.js';
import { vfioCall } from './failures.js';
import { IOVA_LIMIT, type IovaAllocator } from './iova-allocator.js';
import { pinningError } from './memlock.js';

/** Memory in the IOMMU context of a VFIO container. */
export class VfioMemory implements DmaMemory {
  readonly behindIommu = true;
  readonly #containerFd: number;
  readonly #iovas: IovaAllocator;
  readonly #page: number;
  readonly #regions = new Set<VfioRegion>();
  #closed = false;
  /** Once the container may be closed: its file descriptor is nothing to us any more, its mappings are gone. */
  #detached = false;

  /** @param page - the granularity of regions: the larger of the system's page and the IOMMU's, in bytes */
  constructor(containerFd: number, iovas: IovaAllocator, page: number) {
    this.#containerFd = containerFd;
    this.#iovas = iovas;
    this.#page = page;
  }

  get allocatedBytes(): number {
    let bytes = 0;
    for (const region of this.#regions) bytes += region.size;
    return bytes;
  }

  allocate(size: number): DmaRegion {
    if (this.#closed) throw new UsageError('DEVICE_CLOSED', 'Memory was asked of a device that is closed');
    if (!Number.isSafeInteger(size) || size <= 0) {
      throw new UsageError('OPTION_INVALID', `A region of memory can not have ${size} bytes`, {
        remedy: 'Ask for a positive whole number of bytes.',
      });
    }
    const rounded = Math.ceil(size / this.#page) * this.#page;
    const iova = this.#iovas.allocate(rounded);
    try {
      return this.#map(iova, rounded);
    } catch (error) {
      this.#iovas.free(iova, rounded);
      throw error;
    }
  }

  /**
   * Frees what is still allocated; nothing can be allocated any more. The container is to be closed next, which
   * takes what could not be unmapped from the device; that can be freed afterwards.
   */
  close(): void {
    this.#closed = true;
    try {
      forEachOf([...this.#regions], (region) => region.free());
    } finally {
      this.#detached = true;
    }
  }

  #map(iova: number, size: number): VfioRegion {
    const memory = allocateMemory(size);
    const result = shim().vfio_map_dma(this.#containerFd, memory.address, iova, memory.size);
    if (result < 0) {
      memory.close();
      if (result === -ERRNO.ENOMEM) throw pinningError(size);
      vfioCall('VFIO_IOMMU_MAP_DMA', result, result === -ERRNO.ENOSPC ? TOO_MANY_MAPPINGS : undefined);
    }
    const region = new VfioRegion(memory, iova, {
      unmap: () => {
        if (this.#detached) return;
        vfioCall('VFIO_IOMMU_UNMAP_DMA', shim().vfio_unmap_dma(this.#containerFd, iova, memory.size));
      },
      giveBack: () => {
        this.#regions.delete(region);
        this.#iovas.free(iova, memory.size);
        memory.close();
      },
    });
    this.#regions.add(region);
    return region;
  }
}

const TOO_MANY_MAPPINGS =
  'The container has as many mappings as vfio_iommu_type1 allows: use fewer and larger regions, or raise ' +
  'its dma_entry_limit.';

function allocateMemory(size: number): MappedMemory {
  try {
    return MappedMemory.allocate(size);
  } catch (error) {
    if (errnoOf(error) !== ERRNO.ENOMEM) throw error;
    throw new MemoryError('MEMORY_EXHAUSTED', `The system has no ${size} bytes of memory`, { cause: error });
  }
}

/** The two halves of freeing a region: the device's way to the memory goes before the memory does. */
interface Release {
  readonly unmap: () => void;
  readonly giveBack: () => void;
}

class VfioRegion implements DmaRegion {
  readonly size: number;
  readonly #memory: MappedMemory;
  readonly #iova: number;
  readonly #release: Release;
  #freed = false;

  constructor(memory: MappedMemory, iova: number, release: Release) {
    this.size = memory.size;
    this.#memory = memory;
    this.#iova = iova;
    this.#release = release;
  }

  get buffer(): ArrayBuffer {
    return this.#memory.buffer;
  }

  addressOf(offset: number): DeviceAddress {
    this.#check(offset, 0);
    return { lo: this.#iova + offset, hi: 0 };
  }

  isContiguous(offset: number, length: number): boolean {
    this.#check(offset, length);
    return true;
  }

  free(): void {
    if (this.#freed) return;
    // Where this fails, the device can still reach the memory, which stays: closing the device tries again.
    this.#release.unmap();
    this.#freed = true;
    this.#release.giveBack();
  }

  #check(offset: number, length: number): void {
    if (this.#freed) throw new RangeError('The region was freed: it has no device address any more');
    if (offset >= 0 && length >= 0 && offset + length <= this.size && this.#iova + offset < IOVA_LIMIT)
      return;
    throw new RangeError(`No ${length} bytes at ${offset} in a region of ${this.size} bytes`);
  }
}
