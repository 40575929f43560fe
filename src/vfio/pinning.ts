/** How memory is kept where it is, and made reachable, as long as a device may use it. */
import { MemoryError } from '../errors.js';
import type { Logger } from '../log.js';
import { ERRNO, errnoOf } from '../native/errno.js';
import { MappedMemory, pageSize } from '../native/mapped-memory.js';
import { PinnedMemory } from '../native/pinned-memory.js';
import { shim } from '../native/shim.js';
import { vfioCall } from './failures.js';
import type { Backing } from './huge-pages.js';
import type { IovaAllocator } from './iova-allocator.js';
import { pinningError, readMemlock } from './memlock.js';

/** Memory that is pinned. */
export interface Pin {
  /** Under which address the IOMMU has it; undefined without an IOMMU. */
  readonly iova: number | undefined;
  /** To be called before the memory is given back. Where it throws, the memory is pinned still. */
  release(): void;
}

/** Pins memory for devices. */
export interface Pinning {
  readonly behindIommu: boolean;
  /** The unit of what can be pinned, in bytes. */
  readonly page: number;
  /**
   * Says that so much can not be pinned, before memory is taken for it.
   *
   * @throws MemoryError IOVA_EXHAUSTED
   */
  checkRoom(size: number): void;
  /** @throws MemoryError MEMORY_EXHAUSTED, IOVA_EXHAUSTED, MEMORY_NOT_PINNED; VfioError VFIO_MEMLOCK_TOO_LOW */
  pin(memory: MappedMemory, backing: Backing): Pin;
}

const TOO_MANY_MAPPINGS =
  'The container has as many mappings as vfio_iommu_type1 allows: use fewer and larger regions, or raise ' +
  'its dma_entry_limit.';

/** Maps memory in the IOMMU context of a container, which pins it too. */
export class IommuMappings implements Pinning {
  readonly behindIommu = true;
  readonly page: number;
  readonly #containerFd: number;
  readonly #iovas: IovaAllocator;
  #closed = false;

  /** @param page - the larger of the system's page and the IOMMU's, in bytes */
  constructor(containerFd: number, iovas: IovaAllocator, page: number) {
    this.#containerFd = containerFd;
    this.#iovas = iovas;
    this.page = page;
  }

  checkRoom(size: number): void {
    this.#iovas.free(this.#iovas.allocate(size), size);
  }

  pin(memory: MappedMemory): Pin {
    const { address, size } = memory;
    const iova = this.#iovas.allocate(size);
    const result = shim().vfio_map_dma(this.#containerFd, address, iova, size);
    if (result < 0) {
      this.#iovas.free(iova, size);
      if (result === -ERRNO.ENOMEM) throw pinningError(size);
      vfioCall('VFIO_IOMMU_MAP_DMA', result, result === -ERRNO.ENOSPC ? TOO_MANY_MAPPINGS : undefined);
    }
    return { iova, release: () => this.#unmap(iova, size) };
  }

  /** To be called when the container was closed, which has taken all mappings with it. */
  close(): void {
    this.#closed = true;
  }

  #unmap(iova: number, size: number): void {
    if (this.#closed) return;
    vfioCall('VFIO_IOMMU_UNMAP_DMA', shim().vfio_unmap_dma(this.#containerFd, iova, size));
    this.#iovas.free(iova, size);
  }
}

/** Pins memory for a device in VFIO's no-IOMMU mode, where VFIO does nothing about it. */
export class PlainPinning implements Pinning {
  readonly behindIommu = false;
  readonly page = pageSize();
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  checkRoom(): void {
    // The addresses are those of the memory itself.
  }

  pin(memory: MappedMemory, backing: Backing): Pin {
    try {
      const pinned = PinnedMemory.pin(memory.address, memory.size);
      return { iova: undefined, release: () => pinned.unpin() };
    } catch (error) {
      if (errnoOf(error) === ERRNO.ENOMEM) {
        throw pinningError(memory.size, readMemlock(), 'io_uring_register');
      }
      if (backing === 'pages') throw notPinned(error);
      // Compaction does not move huge pages.
      this.#log.debug(
        { err: error },
        'huge pages could not be pinned; they stay where they are by themselves',
      );
      return { iova: undefined, release: () => undefined };
    }
  }
}

function notPinned(cause: unknown): MemoryError {
  return new MemoryError('MEMORY_NOT_PINNED', 'The kernel did not pin memory for the device', {
    syscall: 'io_uring_register',
    errno: errnoOf(cause),
    cause,
  });
}
