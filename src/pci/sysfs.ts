/** What sysfs knows of a PCI device: its ids, who drives it, its IOMMU group, its network interfaces. */
import { join } from 'node:path';
import { PciError } from '../errors.js';
import { listNames, readAttribute, readLinkName, readNumber } from './attributes.js';

/** A network interface that the kernel has on the device. */
export interface NetworkInterface {
  /** For example `eth0`. */
  readonly name: string;
  /** Whether it is set up (IFF_UP): the kernel is using it. */
  readonly up: boolean;
}

/** A PCI device as sysfs describes it at one moment. */
export interface PciDevice {
  /** For example `0000:00:10.0`. */
  readonly address: string;
  /** Its folder in sysfs. */
  readonly path: string;
  readonly vendorId: number;
  readonly deviceId: number;
  readonly subsystemVendorId: number;
  readonly subsystemDeviceId: number;
  readonly revision: number;
  /** Base class, subclass and programming interface in 24 bits; 0x020000 is an Ethernet controller. */
  readonly classCode: number;
  /** The driver that it is bound to; undefined without one. */
  readonly driver: string | undefined;
  /** The only driver that may bind it, where one was set. */
  readonly driverOverride: string | undefined;
  /** The number under which `/dev/vfio` has its IOMMU group; undefined where no IOMMU translates for the device. */
  readonly iommuGroup: string | undefined;
  /** The interfaces that this network namespace sees. */
  readonly interfaces: readonly NetworkInterface[];
  /** Whether an interface of the device was moved into another network namespace, as containers do. */
  readonly hasHiddenInterface: boolean;
}

/** Where sysfs is; another place is for tests. */
export interface SysfsOptions {
  readonly sysfsRoot?: string | undefined;
}

/** Where sysfs usually is. */
export const SYSFS_ROOT = '/sys';
const IFF_UP = 1;

/** The folder of the PCI bus in sysfs. */
export function pciBusPath(sysfsRoot: string = SYSFS_ROOT): string {
  return join(sysfsRoot, 'bus/pci');
}

/** The folder of a device in sysfs; the address must come from `parsePciAddress()`. */
export function pciDevicePath(address: string, sysfsRoot: string = SYSFS_ROOT): string {
  return join(pciBusPath(sysfsRoot), 'devices', address);
}

/**
 * Looks a device up.
 *
 * @param address - in the form that `parsePciAddress()` gives
 * @throws PciError PCI_NO_SUCH_DEVICE
 */
export async function findPciDevice(address: string, options: SysfsOptions = {}): Promise<PciDevice> {
  const path = pciDevicePath(address, options.sysfsRoot);
  const vendorId = await readNumber(join(path, 'vendor'));
  if (vendorId === undefined) throw await noSuchDevice(address, options.sysfsRoot);
  const { interfaces, hidden } = await findInterfaces(path);
  return {
    address,
    path,
    vendorId,
    deviceId: await readId(path, 'device'),
    subsystemVendorId: await readId(path, 'subsystem_vendor'),
    subsystemDeviceId: await readId(path, 'subsystem_device'),
    revision: await readId(path, 'revision'),
    classCode: await readId(path, 'class'),
    driver: await readDriver(path),
    driverOverride: await readDriverOverride(path),
    iommuGroup: await readGroupId(path),
    interfaces,
    hasHiddenInterface: hidden,
  };
}

/** The driver that the device is bound to at this moment; undefined without one. */
export function readDriver(devicePath: string): Promise<string | undefined> {
  return readLinkName(join(devicePath, 'driver'));
}

/** The number of the IOMMU group of a device; undefined without one. */
export function readGroupId(devicePath: string): Promise<string | undefined> {
  return readLinkName(join(devicePath, 'iommu_group'));
}

async function readId(path: string, attribute: string): Promise<number> {
  return (await readNumber(join(path, attribute))) ?? 0;
}

async function readDriverOverride(path: string): Promise<string | undefined> {
  const text = await readAttribute(join(path, 'driver_override'));
  return text === undefined || text === '' || text === '(null)' ? undefined : text;
}

/** A virtio driver has its interfaces below `virtioN/net`; any other network driver has them below `net`. */
async function findInterfaces(path: string): Promise<{ interfaces: NetworkInterface[]; hidden: boolean }> {
  const names = (await listNames(path)) ?? [];
  const parents = ['net', ...names.filter((name) => /^virtio\d+$/.test(name)).map((name) => `${name}/net`)];
  const interfaces: NetworkInterface[] = [];
  let hidden = false;
  for (const parent of parents) {
    const found = await listNames(join(path, parent));
    // The kernel keeps this folder only while there is an interface in it; where it looks empty, the
    // interface is in a network namespace that is not ours.
    if (found?.length === 0) hidden = true;
    for (const name of found ?? []) {
      const flags = (await readNumber(join(path, parent, name, 'flags'))) ?? 0;
      interfaces.push({ name, up: (flags & IFF_UP) !== 0 });
    }
  }
  return { interfaces, hidden };
}

async function noSuchDevice(address: string, sysfsRoot?: string): Promise<PciError> {
  const bus = pciBusPath(sysfsRoot);
  if ((await listNames(join(bus, 'devices'))) !== undefined) {
    return new PciError('PCI_NO_SUCH_DEVICE', `There is no PCI device at ${address}`);
  }
  return new PciError(
    'PCI_NO_SUCH_DEVICE',
    `There is no PCI device at ${address}: ${bus}/devices is missing`,
    {
      remedy: 'Check that sysfs is mounted and that this system has a PCI bus.',
    },
  );
}
