/**
 * Groups that are open, and who uses them. The kernel lets a group be opened once, so functions that are in one group
 * share its file, and its container with it.
 */
import { join } from 'node:path';
import type { Logger } from '../log.js';
import { pageSize } from '../native/mapped-memory.js';
import { Container } from './container.js';
import type { DeviceGroup } from './group-members.js';
import { busy, Group } from './group.js';
import { IovaAllocator, USUAL_IOVA_RANGES } from './iova-allocator.js';
import { IommuMappings, PlainPinning, type Pinning } from './pinning.js';
import { UndoStack } from './undo-stack.js';

/** The use of a group by one function. */
export interface GroupMembership {
  /** Pins memory for the devices of the group. */
  readonly pinning: Pinning;
  /** Opens the function and returns its file descriptor, which the caller closes before it leaves. */
  openDevice(): number;
  /** Closes the group, and its container, if nobody else is in it. */
  leave(): void;
}

interface OpenGroup {
  readonly group: Group;
  readonly pinning: Pinning;
  /** The addresses of the functions that use it. */
  readonly users: Set<string>;
  readonly undo: UndoStack;
}

/** By the path of their files. */
const openGroups = new Map<string, OpenGroup>();

/**
 * Opens the group of a function, unless another function of this thread has it open.
 *
 * @throws VfioError VFIO_DEVICE_BUSY, also where this program has the function itself open
 */
export function joinGroup(deviceGroup: DeviceGroup, devRoot: string, log: Logger): GroupMembership {
  const { address } = deviceGroup;
  const path = join(devRoot, 'vfio', deviceGroup.node);
  const open = openGroups.get(path) ?? openGroup(deviceGroup, devRoot, log);
  if (open.users.has(address)) throw busy(address, path);
  openGroups.set(path, open);
  open.users.add(address);
  return {
    pinning: open.pinning,
    openDevice: () => open.group.openDevice(deviceGroup),
    leave: () => {
      open.users.delete(address);
      if (open.users.size > 0) return;
      openGroups.delete(path);
      open.undo.run();
    },
  };
}

function openGroup(deviceGroup: DeviceGroup, devRoot: string, log: Logger): OpenGroup {
  const undo = new UndoStack(log);
  const { noIommu } = deviceGroup;
  try {
    const container = Container.open(devRoot, noIommu);
    undo.push('close the container', () => container.close());
    const group = Group.open(join(devRoot, 'vfio', deviceGroup.node), deviceGroup);
    undo.push('close the group', () => group.close());
    group.attach(container);
    undo.push('detach the group from its container', () => group.detach());
    const pinning = noIommu ? withoutIommu(container, deviceGroup, log) : withIommu(container, undo);
    return { group, pinning, users: new Set(), undo };
  } catch (error) {
    undo.run();
    throw error;
  }
}

function withIommu(container: Container, undo: UndoStack): Pinning {
  container.setIommu();
  const info = container.iommuInfo();
  const page = Math.max(pageSize(), info.pageSize);
  const iovas = new IovaAllocator(info.ranges ?? USUAL_IOVA_RANGES, page);
  const mappings = new IommuMappings(container.fd, iovas, page);
  undo.push('forget the mappings', () => mappings.close());
  return mappings;
}

function withoutIommu(container: Container, { address }: DeviceGroup, log: Logger): Pinning {
  container.setNoIommu();
  log.warn({ bdf: address }, 'no IOMMU: the device can read and write all memory of the system');
  return new PlainPinning(log);
}
