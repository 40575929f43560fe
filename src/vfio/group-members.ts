/** What sysfs says about the IOMMU group of a device. */
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { PciError, type VfioError } from '../errors.js';
import { ERRNO, errnoOf } from '../native/errno.js';
import { withoutGroup } from '../pci/no-iommu.js';

export interface GroupMember {
  readonly address: string;
  readonly driver: string | undefined;
}

export interface DeviceGroup extends GroupMember {
  /** The number of the group. */
  readonly id: string;
  /** Whether VFIO made the group up for a device that no IOMMU translates for. */
  readonly noIommu: boolean;
  /** The name of its file in `/dev/vfio`. */
  readonly node: string;
  /** All devices of the group, the device itself too. */
  readonly members: readonly GroupMember[];
}

/** Drivers that leave a device alone, or that VFIO may share a group with. */
const HARMLESS = /^(vfio.*|pci-stub|pcieport)$/;
/** What the kernel calls a group that it made up for a device without an IOMMU. */
const NO_IOMMU = 'vfio-noiommu';

/**
 * @param address - in the form of sysfs, for example `0000:00:10.0`
 * @throws PciError PCI_NO_SUCH_DEVICE, VfioError VFIO_IOMMU_ABSENT
 */
export function findGroup(address: string, sysfsRoot: string): DeviceGroup {
  const devices = join(sysfsRoot, 'bus/pci/devices');
  const path = join(devices, address);
  const id = linkName(join(path, 'iommu_group'));
  if (id === undefined) throw groupless(address, devices, sysfsRoot);
  const noIommu = readText(join(path, 'iommu_group/name')) === NO_IOMMU;
  const members = listOrEmpty(join(path, 'iommu_group/devices')).map((member) => ({
    address: member,
    driver: linkName(join(devices, member, 'driver')),
  }));
  const node = noIommu ? `noiommu-${id}` : id;
  return { address, id, noIommu, node, driver: linkName(join(path, 'driver')), members };
}

/** The other devices of the group that a kernel driver holds. */
export function foreignMembers(group: DeviceGroup): { address: string; driver: string }[] {
  return group.members.flatMap(({ address, driver }) =>
    address === group.address || driver === undefined || HARMLESS.test(driver) ? [] : [{ address, driver }],
  );
}

function groupless(address: string, devices: string, sysfsRoot: string): PciError | VfioError {
  return listOrEmpty(devices).includes(address)
    ? withoutGroup(address, sysfsRoot)
    : new PciError('PCI_NO_SUCH_DEVICE', `There is no PCI device at ${address}`);
}

function linkName(path: string): string | undefined {
  return orUndefined(() => basename(readlinkSync(path)));
}

function readText(path: string): string | undefined {
  return orUndefined(() => readFileSync(path, 'utf8').trim());
}

function listOrEmpty(path: string): string[] {
  return orUndefined(() => readdirSync(path)) ?? [];
}

/** What is not there is an answer; any other failure is one. */
function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (errnoOf(error) === ERRNO.ENOENT) return undefined;
    throw error;
  }
}
