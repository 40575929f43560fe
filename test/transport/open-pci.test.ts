import { afterEach, describe, expect, it } from 'vitest';
import { SILENT } from '../../src/log.js';
import { bindToVfio } from '../../src/pci/bind.js';
import { openPciTransport, type OpenPciOptions } from '../../src/transport/open-pci.js';
import type { Transport } from '../../src/transport/transport.js';
import { FakeSysfs, type FakeDevice } from '../pci/fake-sysfs.js';
import { FakeVirtioDevice } from './fake-virtio-device.js';

const ADDRESS = '0000:00:10.0';
const made: FakeSysfs[] = [];

interface Setup {
  readonly sysfs: FakeSysfs;
  readonly device: FakeVirtioDevice;
  open(address?: string, options?: Partial<OpenPciOptions>): Promise<Transport>;
  failToOpen?: Error;
}

/** A system with one card that the kernel drives, and a card that answers. */
async function setup(card: Partial<FakeDevice> = {}): Promise<Setup> {
  const sysfs = await FakeSysfs.create({
    devices: [{ address: ADDRESS, driver: 'virtio-pci', group: 7, ...card }],
    drivers: ['virtio-pci', 'vfio-pci'],
  });
  made.push(sysfs);
  await sysfs.addGroupNode('7');
  const device = new FakeVirtioDevice();
  const system: Setup = {
    sysfs,
    device,
    open: (address = ADDRESS, options = {}) =>
      openPciTransport(
        address,
        { log: SILENT, sysfsRoot: sysfs.root, ...options },
        {
          bind: (bound, given) => bindToVfio(bound, { ...given, kernel: sysfs, devRoot: sysfs.dev }),
          openFunction: (_, given) => {
            expect(given.sysfsRoot).toBe(sysfs.root);
            if (system.failToOpen !== undefined) throw system.failToOpen;
            return device.pci;
          },
        },
      ),
  };
  return system;
}

afterEach(async () => {
  await Promise.all(made.splice(0).map((sysfs) => sysfs.remove()));
});

const driverOf = (system: Setup): Promise<string | undefined> => system.sysfs.driverOf(ADDRESS);

describe('openPciTransport', () => {
  it('opens a card, and gives it back when it is closed', async () => {
    const system = await setup();
    const transport = await system.open('00:10.0');
    expect(transport).toMatchObject({ kind: 'pci-modern', name: ADDRESS, queueCount: 3 });
    expect(await driverOf(system)).toBe('vfio-pci');
    expect(system.device.pci.events).toEqual(['enable', ...Array<string>(3).fill('open BAR 4')]);
    await transport.close();
    expect(system.device.pci.events.at(-1)).toBe('close function');
    expect(await driverOf(system)).toBe('virtio-pci');
  });

  it('leaves a card with vfio-pci that was bound to it before', async () => {
    const system = await setup({ driver: 'vfio-pci' });
    await (await system.open()).close();
    expect(await driverOf(system)).toBe('vfio-pci');
  });

  it.each([
    ['an address that is none', 'eth0', {}, 'PCI_ADDRESS_MALFORMED'],
    ['an address without a device', '0000:00:11.0', {}, 'PCI_NO_SUCH_DEVICE'],
    ['another device', ADDRESS, { vendor: 0x8086, device: 0x100e }, 'PCI_NOT_VIRTIO_NET'],
    ['a card that the kernel uses', ADDRESS, { interfaces: { eth0: '0x1003' } }, 'PCI_INTERFACE_UP'],
  ])('refuses %s without touching anything', async (_, address, card, code) => {
    const system = await setup(card);
    await expect(system.open(address)).rejects.toMatchObject({ code });
    expect(system.sysfs.writes).toEqual([]);
    expect(await driverOf(system)).toBe('virtio-pci');
  });

  it('takes a card over that the kernel uses, where that is wanted', async () => {
    const system = await setup({ interfaces: { eth0: '0x1003' } });
    await (await system.open(ADDRESS, { takeOver: true })).close();
    expect(await driverOf(system)).toBe('virtio-pci');
  });

  it('gives the card back when VFIO fails', async () => {
    const system = await setup();
    system.failToOpen = new Error('busy');
    await expect(system.open()).rejects.toThrow('busy');
    expect(await driverOf(system)).toBe('virtio-pci');
  });

  it.each([
    ['turning the function on fails', (device: FakeVirtioDevice) => device.pci.broken.add('enable')],
    ['its capabilities make no sense', (device: FakeVirtioDevice) => (device.pci.config[0x34] = 0x10)],
    ['a BAR can not be opened', (device: FakeVirtioDevice) => device.pci.broken.add('open BAR 4')],
  ])('closes the function and gives the card back when %s', async (_, damage) => {
    const system = await setup();
    damage(system.device);
    await expect(system.open()).rejects.toThrow();
    expect(system.device.pci.events.at(-1)).toBe('close function');
    expect(system.device.pci.openWindows).toBe(0);
    expect(await driverOf(system)).toBe('virtio-pci');
  });

  it('throws what went wrong first, even if closing fails as well', async () => {
    const system = await setup();
    system.device.pci.broken.add('enable').add('close function');
    await expect(system.open()).rejects.toThrow('enable is broken');
    expect(await driverOf(system)).toBe('virtio-pci');
  });

  it('gives up when told to, and gives the card back', async () => {
    const system = await setup();
    const controller = new AbortController();
    system.sysfs.beforeWrite = (file) => {
      if (file.endsWith('vfio-pci/bind')) controller.abort(new Error('enough'));
    };
    await expect(system.open(ADDRESS, { signal: controller.signal })).rejects.toThrow('enough');
    expect(system.device.pci.events).toEqual([]);
    expect(await driverOf(system)).toBe('virtio-pci');
  });
});
