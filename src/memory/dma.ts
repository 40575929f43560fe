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
  readonly buffer: ArrayBuffer;
  /** Length in bytes: what was asked for, rounded up to whole pages. */
  readonly size: number;
  /** The address under which the device finds the byte at `offset`. */
  addressOf(offset: number): DeviceAddress;
  /** Whether the device sees the `length` bytes from `offset` on at consecutive addresses. */
  isContiguous(offset: number, length: number): boolean;
  /** Gives the memory back. The device must no longer use it. Calling it again does nothing. */
  free(): void;
}

/** Allocates memory that the device can reach. */
export interface DmaMemory {
  /**
   * Allocates a zeroed region of at least `size` bytes that starts on a page boundary.
   *
   * @throws MemoryError MEMORY_EXHAUSTED or IOVA_EXHAUSTED, VfioError VFIO_MEMLOCK_TOO_LOW
   */
  allocate(size: number): DmaRegion;
  /**
   * Whether the addresses go through an IOMMU. Only a device that does so too, which it says with
   * VIRTIO_F_ACCESS_PLATFORM, may be given them (VIRTIO 1.3, 6.1).
   */
  readonly behindIommu: boolean;
  /** Bytes now allocated, for leak checks. */
  readonly allocatedBytes: number;
}
