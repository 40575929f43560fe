/** Opening a PCI function that is bound to vfio-pci. */
import { join } from 'node:path';
import type { Logger } from '../log.js';
import { adoptFd, closeFd } from '../native/file-descriptor.js';
import { pageSize } from '../native/mapped-memory.js';
import { parsePciAddress } from '../pci/address.js';
import type { PciFunction } from '../pci/pci-function.js';
import { Container } from './container.js';
import { VfioMemory } from './dma.js';
import { findGroup } from './group-members.js';
import { Group } from './group.js';
import { IovaAllocator, USUAL_IOVA_RANGES } from './iova-allocator.js';
import { UndoStack } from './undo-stack.js';
import { VfioFunction } from './vfio-function.js';

/** How to open a function. */
export interface OpenVfioOptions {
  readonly log: Logger;
  /** Another place than `/sys` is for tests. */
  readonly sysfsRoot?: string | undefined;
  /** Another place than `/dev` is for tests. */
  readonly devRoot?: string | undefined;
}

/**
 * Opens a PCI function that is bound to vfio-pci: container, group, IOMMU, device.
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
  const { log, sysfsRoot = '/sys', devRoot = '/dev' } = options;
  const parsed = parsePciAddress(address);
  const undo = new UndoStack(log);
  try {
    const deviceGroup = findGroup(parsed, sysfsRoot);
    const container = Container.open(devRoot);
    undo.push('close the container', () => container.close());
    const group = Group.open(join(devRoot, 'vfio', deviceGroup.id), deviceGroup);
    undo.push('close the group', () => group.close());
    group.attach(container);
    undo.push('detach the group from its container', () => group.detach());
    container.setIommu();
    const memory = makeMemory(container);
    const deviceFd = adoptFd(group.openDevice());
    undo.push('close the device', () => closeFd(deviceFd));
    return new VfioFunction({ address: parsed, log, deviceFd, memory, undo });
  } catch (error) {
    undo.run();
    throw error;
  }
}

function makeMemory(container: Container): VfioMemory {
  const info = container.iommuInfo();
  const page = Math.max(pageSize(), info.pageSize);
  return new VfioMemory(container.fd, new IovaAllocator(info.ranges ?? USUAL_IOVA_RANGES, page), page);
}
