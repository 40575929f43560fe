/** PCI functions behind the kernel's VFIO. */
export { openVfioFunction, type OpenVfioOptions } from './open.js';
export type { HugePages } from './huge-pages.js';
