/** Opening a PCI function that is bound to vfio-pci. */
import type { Logger } from '../log.js';
import { adoptFd, closeFd } from '../native/file-descriptor.js';
import { parsePciAddress } from '../pci/address.js';
import type { PciFunction } from '../pci/pci-function.js';
import { VfioMemory } from './dma.js';
import { findGroup } from './group-members.js';
import { joinGroup } from './group-sharing.js';
import type { HugePages } from './huge-pages.js';
import { UndoStack } from './undo-stack.js';
import { VfioFunction } from './vfio-function.js';

/** How to open a function. */
export interface OpenVfioOptions {
  readonly log: Logger;
  /** Which huge pages to make memory for the device of; `'auto'` unless told. */
  readonly hugePages?: HugePages | undefined;
  /** Another place than `/sys` is for tests. */
  readonly sysfsRoot?: string | undefined;
  /** Another place than `/dev` is for tests. */
  readonly devRoot?: string | undefined;
}

/**
 * Opens a PCI function that is bound to vfio-pci: container, group, IOMMU, device. Functions of one group share the
 * container, as long as the same thread opens them.
 *
 * The caller owns the function and closes it. Whatever fails on the way, nothing stays open.
 *
 * @param address - as lspci writes it: `0000:00:10.0`, `00:10.0`
 * @throws PciError PCI_ADDRESS_MALFORMED, PCI_NO_SUCH_DEVICE
 * @throws VfioError VFIO_NOT_AVAILABLE, VFIO_IOMMU_ABSENT, VFIO_PERMISSION_DENIED, VFIO_DEVICE_BUSY,
 *   VFIO_GROUP_NOT_VIABLE, VFIO_CALL_FAILED
 * @throws NativeError
 */
export function openVfioFunction(address: string, options: OpenVfioOptions): PciFunction {
  const { log, hugePages = 'auto', sysfsRoot = '/sys', devRoot = '/dev' } = options;
  const parsed = parsePciAddress(address);
  const undo = new UndoStack(log);
  try {
    const membership = joinGroup(findGroup(parsed, sysfsRoot), devRoot, log);
    undo.push('leave the group', () => membership.leave());
    const { pinning } = membership;
    const memory = new VfioMemory({ address: parsed, log, pinning, hugePages, sysfsRoot });
    // After the device, which the kernel cuts off from all memory when it is closed, whatever failed before.
    undo.push('free the DMA memory', () => memory.close());
    const deviceFd = adoptFd(membership.openDevice());
    undo.push('close the device', () => closeFd(deviceFd));
    return new VfioFunction({ address: parsed, log, deviceFd, memory, undo });
  } catch (error) {
    undo.run();
    throw error;
  }
}
