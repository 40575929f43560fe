/** Loading the kernel modules that VFIO needs. */
import { join } from 'node:path';
import { PciError } from '../errors.js';
import { listNames, messageOf } from './attributes.js';
import { VFIO_PCI, type BindContext } from './device-binding.js';
import { pciBusPath } from './sysfs.js';

/** The module that maps memory for devices behind an x86 or ARM IOMMU. */
const VFIO_IOMMU = 'vfio_iommu_type1';

/**
 * Makes sure that the kernel has the vfio-pci driver, with one call of modprobe where it has not.
 *
 * @throws PciError PCI_BIND_FAILED
 */
export async function ensureVfioPci(context: BindContext): Promise<void> {
  const { sysfsRoot } = context;
  const failure = await loadUnlessThere(join(pciBusPath(sysfsRoot), 'drivers', VFIO_PCI), VFIO_PCI, context);
  if (failure !== undefined) {
    throw new PciError('PCI_BIND_FAILED', `The kernel has no vfio-pci driver: ${failure}`, {
      remedy:
        'Load it as root: modprobe vfio-pci. If there is no such module, install the kernel that has it.',
    });
  }
  // vfio names this module as one to load after it, which not every modprobe does. Opening the device says so
  // where it is really missing.
  await loadUnlessThere(join(sysfsRoot, 'module', VFIO_IOMMU), VFIO_IOMMU, context);
}

/**
 * Loads a module if the folder that it brings is not there.
 *
 * @returns why the folder is still not there; undefined when it is
 */
async function loadUnlessThere(
  folder: string,
  name: string,
  context: BindContext,
): Promise<string | undefined> {
  if ((await listNames(folder)) !== undefined) return undefined;
  let failure = `${folder} is missing`;
  try {
    await context.kernel.loadModule(name);
  } catch (error) {
    failure = messageOf(error);
    context.log.debug({ module: name, err: error }, 'the module could not be loaded');
  }
  return (await listNames(folder)) === undefined ? failure : undefined;
}
