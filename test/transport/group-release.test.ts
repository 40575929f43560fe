/** Cards of one IOMMU group: the kernel's driver must have none of them while VFIO has another one open. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { SILENT } from '../../src/log.js';
import { bindToVfio } from '../../src/pci/bind.js';
import { openPciTransport } from '../../src/transport/open-pci.js';
import type { Transport } from '../../src/transport/transport.js';
import { FakeSysfs } from '../pci/fake-sysfs.js';
import { FakeVirtioDevice } from './fake-virtio-device.js';

const [FIRST, SECOND, OTHER] = ['0000:00:1e.0', '0000:00:1e.1', '0000:00:10.0'];
let sysfs: FakeSysfs;
/** The addresses of the functions that are open. */
let inUse: string[];

beforeEach(async () => {
  inUse = [];
  sysfs = await FakeSysfs.create({
    devices: [
      { address: FIRST, driver: 'virtio-pci', group: 7 },
      { address: SECOND, group: 7 },
      { address: OTHER, driver: 'virtio-pci', group: 8 },
    ],
    drivers: ['virtio-pci', 'vfio-pci'],
  });
  for (const group of ['7', '8']) await sysfs.addGroupNode(group);
  sysfs.beforeWrite = (file) => {
    if (file !== 'drivers/virtio-pci/bind' || inUse.every((address) => address === OTHER)) return;
    throw Object.assign(new Error('the group is in use'), { code: 'EBUSY', errno: -16 });
  };
});
afterEach(() => sysfs.remove());

function open(address: string, failure?: Error): Promise<Transport> {
  return openPciTransport(
    address,
    { log: SILENT, sysfsRoot: sysfs.root },
    {
      bind: (bound, options) => bindToVfio(bound, { ...options, kernel: sysfs, devRoot: sysfs.dev }),
      openFunction: () => {
        if (failure !== undefined) throw failure;
        const { pci } = new FakeVirtioDevice();
        const close = pci.close.bind(pci);
        inUse.push(address);
        pci.close = () => {
          inUse.splice(inUse.indexOf(address), 1);
          close();
        };
        return pci;
      },
    },
  );
}

const drivers = (): Promise<(string | undefined)[]> =>
  Promise.all([FIRST, SECOND, OTHER].map((address) => sysfs.driverOf(address)));

it('waits for the last of its group, and for no other', async () => {
  const other = await open(OTHER);
  const [first, second] = [await open(FIRST), await open(SECOND)];
  await first.close();
  expect(await drivers()).toEqual(['vfio-pci', 'vfio-pci', 'vfio-pci']);
  await second.close();
  expect(await drivers()).toEqual(['virtio-pci', undefined, 'vfio-pci']);
  await other.close();
  expect(await drivers()).toEqual(['virtio-pci', undefined, 'virtio-pci']);
});

it('can be opened again meanwhile, and ends with the driver that it had', async () => {
  const [first, second] = [await open(FIRST), await open(SECOND)];
  await first.close();
  const again = await open(FIRST);
  await second.close();
  expect(await sysfs.driverOf(FIRST)).toBe('vfio-pci');
  await again.close();
  expect(await drivers()).toEqual(['virtio-pci', undefined, 'virtio-pci']);
});

it('closes both at once', async () => {
  const both = [await open(FIRST), await open(SECOND)];
  await Promise.all(both.map((transport) => transport.close()));
  expect(await sysfs.driverOf(FIRST)).toBe('virtio-pci');
});

it('waits as well where opening it failed', async () => {
  const first = await open(FIRST);
  await expect(open(SECOND, new Error('busy'))).rejects.toThrow('busy');
  await first.close();
  expect(await drivers()).toEqual(['virtio-pci', undefined, 'virtio-pci']);
});

it('is given back though another one of the group is not', async () => {
  const [first, second] = [await open(FIRST), await open(SECOND)];
  const model = sysfs.beforeWrite;
  sysfs.beforeWrite = (file, value) => {
    if (file === 'drivers/vfio-pci/unbind' && value === SECOND) throw new Error('no');
    return model(file, value);
  };
  await first.close();
  await expect(second.close()).rejects.toMatchObject({ code: 'PCI_BIND_FAILED' });
  expect(await drivers()).toEqual(['virtio-pci', 'vfio-pci', 'virtio-pci']);
});
