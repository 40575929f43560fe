import { afterEach, describe, expect, it } from 'vitest';
import { checkVirtioNet } from '../../src/pci/identify.js';
import { findPciDevice } from '../../src/pci/sysfs.js';
import { FakeSysfs, type FakeDevice, type FakeSysfsOptions } from './fake-sysfs.js';

const ADDRESS = '0000:00:10.0';
const made: FakeSysfs[] = [];

async function sysfsWith(options: FakeSysfsOptions): Promise<{ sysfsRoot: string }> {
  const sysfs = await FakeSysfs.create(options);
  made.push(sysfs);
  return { sysfsRoot: sysfs.root };
}

afterEach(async () => {
  await Promise.all(made.splice(0).map((sysfs) => sysfs.remove()));
});

describe('findPciDevice', () => {
  it('tells everything about a card that the kernel drives', async () => {
    const options = await sysfsWith({
      drivers: ['virtio-pci'],
      devices: [
        { address: ADDRESS, driver: 'virtio-pci', group: 7, interfaces: { eth0: '0x1003', eth1: '0x1002' } },
      ],
    });
    expect(await findPciDevice(ADDRESS, options)).toEqual({
      address: ADDRESS,
      path: `${options.sysfsRoot}/bus/pci/devices/${ADDRESS}`,
      vendorId: 0x1af4,
      deviceId: 0x1041,
      subsystemVendorId: 0x1af4,
      subsystemDeviceId: 0x1100,
      revision: 1,
      classCode: 0x020000,
      driver: 'virtio-pci',
      driverOverride: undefined,
      iommuGroup: '7',
      interfaces: [
        { name: 'eth0', up: true },
        { name: 'eth1', up: false },
      ],
      hasHiddenInterface: false,
    });
  });

  it('tells that there is no driver, group or interface', async () => {
    const options = await sysfsWith({ devices: [{ address: ADDRESS, driverOverride: 'vfio-pci' }] });
    expect(await findPciDevice(ADDRESS, options)).toMatchObject({
      driver: undefined,
      driverOverride: 'vfio-pci',
      iommuGroup: undefined,
      interfaces: [],
    });
  });

  it('finds the interfaces of other kinds of drivers', async () => {
    const options = await sysfsWith({
      devices: [{ address: ADDRESS, interfaces: { enp0s16: '0x1' }, netFolder: 'net' }],
    });
    expect((await findPciDevice(ADDRESS, options)).interfaces).toEqual([{ name: 'enp0s16', up: true }]);
  });

  it('notices an interface in another network namespace by its empty folder', async () => {
    const options = await sysfsWith({ devices: [{ address: ADDRESS, interfaces: {} }] });
    expect((await findPciDevice(ADDRESS, options)).hasHiddenInterface).toBe(true);
  });

  it('says that there is no such device', async () => {
    const options = await sysfsWith({});
    await expect(findPciDevice(ADDRESS, options)).rejects.toMatchObject({
      code: 'PCI_NO_SUCH_DEVICE',
      message: `There is no PCI device at ${ADDRESS}. List what there is with: lspci -D -d 1af4:`,
    });
  });

  it('says that there is no sysfs at all', async () => {
    await expect(findPciDevice(ADDRESS, { sysfsRoot: '/nonexistent' })).rejects.toMatchObject({
      code: 'PCI_NO_SUCH_DEVICE',
      message: expect.stringContaining('/nonexistent/bus/pci/devices is missing') as unknown,
    });
  });
});

describe('checkVirtioNet', () => {
  const check = async (
    vendor: number,
    device: number,
    others: Pick<FakeDevice, 'revision' | 'subsystemVendor' | 'subsystemDevice'> = {},
  ): Promise<void> => {
    const options = await sysfsWith({ devices: [{ address: ADDRESS, vendor, device, ...others }] });
    checkVirtioNet(await findPciDevice(ADDRESS, options));
  };

  // Proves: pci/pci-device-discovery/1, pci/pci-device-discovery/2
  it('accepts a modern and a transitional card', async () => {
    await check(0x1af4, 0x1041);
    await check(0x1af4, 0x1000);
  });

  // Proves: pci/pci-device-discovery/3, pci/pci-device-discovery/4
  it('accepts any revision and any subsystem', async () => {
    for (const revision of [0, 1, 2, 0xff]) await check(0x1af4, 0x1041, { revision });
    await check(0x1af4, 0x1041, { subsystemVendor: 0x8086, subsystemDevice: 0xffff });
    await check(0x1af4, 0x1000, { subsystemVendor: 0, subsystemDevice: 0, revision: 7 });
  });

  it.each([
    [0x8086, 0x1041, 'is not a virtio device: 8086:1041, class 020000, no driver'],
    [0x1af4, 0x1042, 'is a virtio device of another kind: 1af4:1042'],
    [0x1af4, 0x1001, 'is a virtio device of another kind: 1af4:1001'],
  ])('refuses %i:%i and says what it is', async (vendor, device, message) => {
    await expect(check(vendor, device)).rejects.toMatchObject({
      code: 'PCI_NOT_VIRTIO_NET',
      message: expect.stringContaining(message) as unknown,
    });
  });
});
