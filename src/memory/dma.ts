/**
 * Memory that a device can reach.
 *
 * A transport hands out {@link DmaMemory}; the rings and the packet pool live in its regions. How a region
 * is made reachable (an IOMMU mapping, physical pages, a shared memory file, nothing at all) is the
 * transport's matter.
 */

/** An address as the device sees it, in two unsigned 32-bit halves, so that no BigInt is needed per packet. */
export interface DeviceAddress {
  readonly lo: number;
  readonly hi: number;
}

/** A stretch of memory that both the driver and the device can reach. */
export interface DmaRegion {
  /** The bytes, zeroed when allocated. Length 0 after `free()`. */
  readonly buffer: ArrayBufferLike;
  /** Length in bytes: what was asked for, rounded up to whole pages. */
  readonly size: number;
  /**
   * Whether another thread allocated it, and clears it each time that the device is reset: a ring in it is in its
   * initial state then, and must not be cleared while the device uses it already.
   */
  readonly adopted?: boolean;
  /** The address under which the device finds the byte at `offset`. */
  addressOf(offset: number): DeviceAddress;
  /** Whether the device sees the `length` bytes from `offset` on at consecutive addresses. */
  isContiguous(offset: number, length: number): boolean;
  /** Gives the memory back. The device must no longer use it. Calling it again does nothing. */
  free(): void;
}

/**
 * What the addresses of a memory are: `iova`, translated by the IOMMU, or `physical`, what the memory bus of the
 * machine uses. A device that goes through the IOMMU, which it says with VIRTIO_F_ACCESS_PLATFORM, must be given the
 * former; any other device the latter (VIRTIO 1.3, 6.1).
 */
export type AddressKind = 'iova' | 'physical';

/** What {@link DmaMemory.allocate} has to see to. */
export interface AllocateOptions {
  /** The whole region must lie at consecutive addresses; with physical addresses that can be hard to find. */
  readonly contiguous?: boolean | undefined;
  /** It is for packet buffers, which are to lie in the pages that the program has chosen for them. */
  readonly buffers?: boolean | undefined;
}

/** Allocates memory that the device can reach. */
export interface DmaMemory {
  /**
   * Allocates a zeroed region of at least `size` bytes that starts on a page boundary.
   *
   * With IOVAs a region is contiguous. With physical addresses it is so page by page only, unless `contiguous` was
   * asked for: whatever is placed in it has to stay within a page of 4096 bytes, or to ask `isContiguous()`.
   *
   * @throws MemoryError MEMORY_EXHAUSTED, IOVA_EXHAUSTED, MEMORY_NOT_CONTIGUOUS, MEMORY_NOT_PINNED,
   *   MEMORY_ADDRESS_UNKNOWN, HUGE_PAGES_MISSING; VfioError VFIO_MEMLOCK_TOO_LOW
   */
  allocate(size: number, options?: AllocateOptions): DmaRegion;
  /** What the addresses are; at first IOVAs where there is an IOMMU. */
  readonly addressing: AddressKind;
  /**
   * Chooses what the addresses are. To be called when the features are negotiated, while nothing is allocated.
   *
   * @throws UsageError OPTION_INVALID where something is allocated, VfioError VFIO_IOMMU_ABSENT for IOVAs where no
   *   IOMMU translates them
   */
  setAddressing(kind: AddressKind): void;
  /**
   * Whether the addresses are of the transport's own choice, and the device is told of them together with the memory, as
   * with vhost-user: then there is no other kind to choose.
   */
  readonly hasOwnAddresses?: boolean;
  /** Whether there is an IOMMU between the bus and the memory, so that addresses can be IOVAs. */
  readonly behindIommu: boolean;
  /** Bytes now allocated, for leak checks. */
  readonly allocatedBytes: number;
}
