/** Numbers of the kernel's VFIO interface (linux/vfio.h), as far as PCI devices need them. */

export const API_VERSION = 0;

/** IOMMU types for `VFIO_SET_IOMMU`, the preferred one first. */
export const TYPE1_V2_IOMMU = 3;
export const TYPE1_IOMMU = 1;
/** The one of a group without an IOMMU. */
export const NOIOMMU_IOMMU = 8;

export const GROUP_FLAG = { VIABLE: 1, CONTAINER_SET: 2 } as const;

export const DEVICE_FLAG = { RESET: 1, PCI: 2 } as const;

export const REGION_FLAG = { READ: 1, WRITE: 2, MMAP: 4, CAPS: 8 } as const;

/** Region numbers of a PCI device: 0 to 5 are its BARs. */
export const BAR_COUNT = 6;
export const CONFIG_REGION = 7;

/** Interrupt numbers of a PCI device. */
export const INTX_IRQ = 0;
export const MSIX_IRQ = 2;
/** Not of the device: the kernel asks for it back. */
export const REQUEST_IRQ = 4;
export const IRQ_FLAG_EVENTFD = 1;

export const IOMMU_FLAG = { PGSIZES: 1, CAPS: 2 } as const;

/** Ids in the capability chain of the IOMMU info, and of a region info. */
export const IOMMU_CAP_IOVA_RANGE = 1;
export const REGION_CAP_SPARSE_MMAP = 1;
