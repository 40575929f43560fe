/** Devices that no IOMMU translates for, and what can be done about them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { VfioError } from '../errors.js';
import { isAbsent } from './attributes.js';
import { SYSFS_ROOT } from './sysfs.js';

const TURN_ON =
  'Turn the IOMMU on: intel_iommu=on or amd_iommu=on on the kernel command line; in a VM, give it a vIOMMU.';

/** The error for a device that is in no IOMMU group; its remedy depends on what the kernel can do without one. */
export function withoutGroup(address: string, sysfsRoot: string = SYSFS_ROOT): VfioError {
  return new VfioError('VFIO_IOMMU_ABSENT', `${address} is in no IOMMU group`, {
    remedy: `${TURN_ON} ${withoutIommu(sysfsRoot)}`,
  });
}

/** The switch of VFIO's no-IOMMU mode, which only kernels have that were built with it (CONFIG_VFIO_NOIOMMU). */
function withoutIommu(sysfsRoot: string): string {
  const path = join(sysfsRoot, 'module/vfio/parameters/enable_unsafe_noiommu_mode');
  const state = readState(path);
  if (state === undefined) return 'The VFIO of this kernel does not do without an IOMMU.';
  if (state === 'Y') {
    return "VFIO's no-IOMMU mode is on, but was not when the device was bound: unbind it, and bind it again.";
  }
  return (
    `Where there is none, VFIO can do without: echo Y > ${path} (as root). Nothing then keeps the device from ` +
    'reading and writing all memory of the system, and the kernel is marked as tainted.'
  );
}

function readState(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1').trim();
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}
