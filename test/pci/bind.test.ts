import { afterEach, describe, expect, it } from 'vitest';
import { SILENT, type Logger } from '../../src/log.js';
import { bindToVfio, type BindOptions, type VfioBinding } from '../../src/pci/bind.js';
import { failWith, FakeSysfs, type FakeDevice } from './fake-sysfs.js';

const ADDRESS = '0000:00:10.0';
const CARD: FakeDevice = { address: ADDRESS, driver: 'virtio-pci', group: 7 };
const made: FakeSysfs[] = [];

interface Setup {
  readonly sysfs: FakeSysfs;
  readonly log: string[];
  bind(options?: Partial<BindOptions>): Promise<VfioBinding>;
}

/** A system with one card; the file of its IOMMU group is there from the start. */
async function setup(card: FakeDevice = CARD, drivers = ['virtio-pci', 'vfio-pci']): Promise<Setup> {
  const sysfs = await FakeSysfs.create({ devices: [card], drivers });
  made.push(sysfs);
  await sysfs.addGroupNode('7');
  const log: string[] = [];
  const logger: Logger = { ...SILENT, warn: (_, text) => log.push(text), error: (_, text) => log.push(text) };
  const base = { log: logger, sysfsRoot: sysfs.root, devRoot: sysfs.dev, kernel: sysfs };
  return { sysfs, log, bind: (options) => bindToVfio(ADDRESS, { ...base, ...options }) };
}

afterEach(async () => {
  await Promise.all(made.splice(0).map((sysfs) => sysfs.remove()));
});

/** The device is as it was before anything was tried. */
async function expectUntouched({ sysfs }: Setup, driver: string | null = 'virtio-pci'): Promise<void> {
  expect((await sysfs.driverOf(ADDRESS)) ?? null).toBe(driver);
  expect(await sysfs.overrideOf(ADDRESS)).toBe('(null)');
}

describe('binding', () => {
  it('takes the card from its driver, and gives it back', async () => {
    const system = await setup();
    const binding = await system.bind();
    expect(binding).toMatchObject({ address: ADDRESS, changed: true, previousDriver: 'virtio-pci' });
    expect(await system.sysfs.driverOf(ADDRESS)).toBe('vfio-pci');
    await binding.restore();
    await expectUntouched(system);
  });

  it('leaves no override behind, which would keep every other driver away if the program were killed', async () => {
    const system = await setup();
    await system.bind();
    expect(system.sysfs.writes).toContain('devices/0000:00:10.0/driver_override=vfio-pci');
    expect(await system.sysfs.overrideOf(ADDRESS)).toBe('(null)');
    await system.sysfs.writeAttribute(`${system.sysfs.root}/bus/pci/drivers/vfio-pci/unbind`, ADDRESS);
    await system.sysfs.writeAttribute(`${system.sysfs.root}/bus/pci/drivers/virtio-pci/bind`, ADDRESS);
    await expectUntouched(system);
  });

  it('gives it back once, however often it is asked to', async () => {
    const system = await setup();
    const binding = await system.bind();
    await Promise.all([binding.restore(), binding.restore()]);
    const writes = system.sysfs.writes.length;
    await binding.restore();
    expect(system.sysfs.writes).toHaveLength(writes);
  });

  it('leaves a card that had no driver without one', async () => {
    const system = await setup({ address: ADDRESS, group: 7 });
    const binding = await system.bind();
    expect(await system.sysfs.driverOf(ADDRESS)).toBe('vfio-pci');
    await binding.restore();
    await expectUntouched(system, null);
  });

  it('brings back the driver_override that was there', async () => {
    const system = await setup({ ...CARD, driverOverride: 'virtio-pci' });
    await (await system.bind()).restore();
    expect(await system.sysfs.overrideOf(ADDRESS)).toBe('virtio-pci');
    expect(await system.sysfs.driverOf(ADDRESS)).toBe('virtio-pci');
  });

  it('changes nothing where the card is bound to vfio-pci already', async () => {
    const system = await setup({ ...CARD, driver: 'vfio-pci' });
    const binding = await system.bind();
    expect(binding.changed).toBe(false);
    await binding.restore();
    expect(system.sysfs.writes).toEqual([]);
    expect(await system.sysfs.driverOf(ADDRESS)).toBe('vfio-pci');
  });

  it('loads vfio-pci once where it is not loaded', async () => {
    const system = await setup(CARD, ['virtio-pci']);
    system.sysfs.modules.add('vfio-pci');
    await system.bind();
    expect(system.sysfs.loaded).toEqual(['vfio-pci']);
    expect(await system.sysfs.driverOf(ADDRESS)).toBe('vfio-pci');
  });

  it('loads the IOMMU module of VFIO as well, but can do without', async () => {
    const system = await setup();
    await system.sysfs.removeModule('vfio_iommu_type1');
    await system.bind();
    expect(system.sysfs.loaded).toEqual(['vfio_iommu_type1']);
    expect(await system.sysfs.driverOf(ADDRESS)).toBe('vfio-pci');
  });

  it('says so where vfio-pci can not be loaded', async () => {
    const system = await setup(CARD, ['virtio-pci']);
    await expect(system.bind()).rejects.toMatchObject({
      code: 'PCI_BIND_FAILED',
      message: expect.stringMatching(/no vfio-pci driver: modprobe: FATAL.*modprobe vfio-pci/) as unknown,
    });
    expect(system.sysfs.loaded).toEqual(['vfio-pci']);
    await expectUntouched(system);
  });
});

describe('a card that the kernel uses', () => {
  it('is refused, with the name of the interface', async () => {
    const system = await setup({ ...CARD, interfaces: { eth0: '0x1002', eth1: '0x1003' } });
    await expect(system.bind()).rejects.toMatchObject({
      code: 'PCI_INTERFACE_UP',
      message: expect.stringMatching(/^The network interface eth1 of .*ip link set dev eth1 down/) as unknown,
    });
    expect(system.sysfs.writes).toEqual([]);
  });

  it('is refused where its interface is in another network namespace', async () => {
    const system = await setup({ ...CARD, interfaces: {} });
    await expect(system.bind()).rejects.toMatchObject({
      code: 'PCI_INTERFACE_UP',
      message: expect.stringContaining('another network namespace') as unknown,
    });
  });

  it('is taken over where that is wanted', async () => {
    const system = await setup({ ...CARD, interfaces: { eth1: '0x1003' } });
    await system.bind({ takeOver: true });
    expect(await system.sysfs.driverOf(ADDRESS)).toBe('vfio-pci');
    expect(system.log).toEqual(['taking over a card that the kernel uses']);
  });

  it('is taken where its interface is down', async () => {
    const system = await setup({ ...CARD, interfaces: { eth1: '0x1002' } });
    await system.bind();
    expect(await system.sysfs.driverOf(ADDRESS)).toBe('vfio-pci');
  });
});

describe('when something fails halfway', () => {
  const on =
    (part: string, fail: (file: string) => void) =>
    (file: string, value: string): void => {
      if (`${file}=${value}`.includes(part)) fail(file);
    };

  it.each([
    ['drivers/virtio-pci/unbind', 'EACCES', 13, 'PCI_PERMISSION_DENIED'],
    ['drivers/virtio-pci/unbind', 'EPERM', 1, 'PCI_PERMISSION_DENIED'],
    ['driver_override=vfio-pci', 'EACCES', 13, 'PCI_PERMISSION_DENIED'],
    ['driver_override=vfio-pci', 'EINVAL', 22, 'PCI_BIND_FAILED'],
    ['drivers/vfio-pci/bind', 'EPERM', 1, 'PCI_PERMISSION_DENIED'],
    ['drivers/vfio-pci/bind', 'EIO', 5, 'PCI_BIND_FAILED'],
  ])('%s failing with %s: the card keeps its driver', async (part, name, errno, code) => {
    const system = await setup();
    system.sysfs.beforeWrite = on(part, failWith(name, errno));
    await expect(system.bind()).rejects.toMatchObject({
      code,
      errno,
      syscall: expect.stringMatching(/^write \//) as unknown,
    });
    system.sysfs.beforeWrite = () => undefined;
    await expectUntouched(system);
  });

  it('says that there is no IOMMU where vfio-pci refuses for that', async () => {
    const system = await setup({ address: ADDRESS, driver: 'virtio-pci' });
    system.sysfs.beforeWrite = on('vfio-pci/bind', failWith('EINVAL', 22));
    await expect(system.bind()).rejects.toMatchObject({ code: 'VFIO_IOMMU_ABSENT' });
    await expectUntouched(system);
  });

  it('takes a card without an IOMMU where VFIO does without', async () => {
    const system = await setup({ ...CARD, group: 3 });
    await system.sysfs.addGroupNode('noiommu-3');
    const binding = await system.bind({ nodeTimeout: 20 });
    expect(binding.changed).toBe(true);
    await binding.restore();
    await expectUntouched(system);
  });

  it('gives the card back where the file of the group does not appear', async () => {
    const system = await setup({ ...CARD, group: 8 });
    await expect(system.bind({ nodeTimeout: 20 })).rejects.toMatchObject({
      code: 'PCI_BIND_FAILED',
      message: expect.stringContaining('vfio/8 did not appear') as unknown,
    });
    await expectUntouched(system);
  });

  it('waits for the file of the group, also of one without an IOMMU', async () => {
    for (const name of ['8', 'noiommu-8']) {
      const system = await setup({ ...CARD, group: 8 });
      const binding = system.bind({ nodeTimeout: 15_000 });
      setTimeout(() => void system.sysfs.addGroupNode(name), 20);
      expect((await binding).changed).toBe(true);
    }
  });

  it('gives the card back when it is told to give up', async () => {
    const system = await setup({ ...CARD, group: 8 });
    const controller = new AbortController();
    const binding = system.bind({ signal: controller.signal, nodeTimeout: 15_000 });
    setTimeout(() => controller.abort(new Error('enough')), 20);
    await expect(binding).rejects.toThrow('enough');
    await expectUntouched(system);
    expect(system.sysfs.writes).toContain('drivers/vfio-pci/bind=0000:00:10.0');
  });

  it('does nothing when it was told before it began', async () => {
    const system = await setup();
    await expect(system.bind({ signal: AbortSignal.abort(new Error('never')) })).rejects.toThrow('never');
    expect(system.sysfs.writes).toEqual([]);
  });

  it('says both where even giving back fails', async () => {
    const system = await setup();
    system.sysfs.beforeWrite = on('/bind', failWith('EIO', 5));
    const error: unknown = await system.bind().catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: 'PCI_BIND_FAILED',
      message: expect.stringMatching(/could not be bound.*nor given back.*has no driver now/) as unknown,
    });
    expect((error as Error).cause).toMatchObject({ errors: [{ errno: 5 }, { code: 'PCI_BIND_FAILED' }] });
    expect(system.log).toEqual(['the device was not given back']);
  });
});

describe('when others interfere', () => {
  it('does not fight with a program that took the card first', async () => {
    const system = await setup();
    system.sysfs.beforeWrite = async (file) => {
      if (file.endsWith('virtio-pci/unbind')) await system.sysfs.bindBehindTheBack(ADDRESS, 'vfio-pci');
    };
    await expect(system.bind()).rejects.toMatchObject({
      code: 'PCI_BIND_FAILED',
      message: expect.stringContaining('another program is taking it') as unknown,
    });
    expect(await system.sysfs.driverOf(ADDRESS)).toBe('vfio-pci');
    expect(await system.sysfs.overrideOf(ADDRESS)).toBe('(null)');
  });

  it('tries again where a driver slips in between', async () => {
    const system = await setup();
    let times = 0;
    system.sysfs.beforeWrite = async (file) => {
      if (file.endsWith('vfio-pci/bind') && times++ === 0) {
        await system.sysfs.bindBehindTheBack(ADDRESS, 'virtio-pci');
      }
    };
    const binding = await system.bind();
    expect(await system.sysfs.driverOf(ADDRESS)).toBe('vfio-pci');
    await binding.restore();
    await expectUntouched(system);
  });

  it('gives up where a driver always slips in', async () => {
    const system = await setup();
    system.sysfs.beforeWrite = async (file) => {
      if (file.endsWith('vfio-pci/bind')) await system.sysfs.bindBehindTheBack(ADDRESS, 'virtio-pci');
    };
    await expect(system.bind()).rejects.toThrow(/Meanwhile .* was bound to virtio-pci by another program/);
    await expectUntouched(system);
  });

  it('never takes from vfio-pci what another program bound to it', async () => {
    const system = await setup();
    system.sysfs.beforeWrite = async (file) => {
      if (file.endsWith('vfio-pci/bind')) await system.sysfs.bindBehindTheBack(ADDRESS, 'vfio-pci');
    };
    await expect(system.bind()).rejects.toThrow(/was bound to vfio-pci by another program/);
    expect(await system.sysfs.driverOf(ADDRESS)).toBe('vfio-pci');
    expect(system.sysfs.writes).not.toContain(`drivers/vfio-pci/unbind=${ADDRESS}`);
  });

  it('lets one of two callers take the card, and the other find it taken', async () => {
    const system = await setup();
    const bindings = await Promise.all([system.bind(), system.bind(), system.bind()]);
    expect(bindings.map((binding) => binding.changed)).toEqual([true, false, false]);
    for (const binding of bindings) await binding.restore();
    await expectUntouched(system);
  });

  it('binds only when giving back is done, and can be told not to wait', async () => {
    const system = await setup();
    const first = await system.bind();
    let letGo = (): void => undefined;
    const held = new Promise<void>((resolve) => (letGo = resolve));
    system.sysfs.beforeWrite = (file) => (file.endsWith('vfio-pci/unbind') ? held : undefined);
    const restoring = first.restore();
    const controller = new AbortController();
    const impatient = system.bind({ signal: controller.signal });
    const patient = system.bind();
    controller.abort(new Error('enough'));
    await expect(impatient).rejects.toThrow('enough');
    letGo();
    await restoring;
    const second = await patient;
    expect(second.changed).toBe(true);
    await second.restore();
    await expectUntouched(system);
  });

  it('does not mind on giving back that the card has its driver again', async () => {
    const system = await setup();
    const binding = await system.bind();
    await system.sysfs.bindBehindTheBack(ADDRESS, 'virtio-pci');
    await binding.restore();
    await expectUntouched(system);
  });

  it('says so on giving back where the card has yet another driver', async () => {
    const system = await setup();
    const binding = await system.bind();
    await system.sysfs.addDriver('pci-stub');
    await system.sysfs.bindBehindTheBack(ADDRESS, 'pci-stub');
    await expect(binding.restore()).rejects.toMatchObject({
      code: 'PCI_BIND_FAILED',
      message: expect.stringContaining('has pci-stub now') as unknown,
    });
    expect(await system.sysfs.driverOf(ADDRESS)).toBe('pci-stub');
    expect(system.log).toEqual(['the device was not given back']);
  });

  it('has nothing to give back where the card was pulled', async () => {
    const system = await setup();
    const binding = await system.bind();
    await system.sysfs.removeDevice(ADDRESS);
    await binding.restore();
    expect(system.log).toEqual([]);
  });
});

describe('the real kernel interface', () => {
  it('writes an attribute, and never creates one', async () => {
    const { LINUX_KERNEL } = await import('../../src/pci/kernel-controls.js');
    const system = await setup();
    const path = `${system.sysfs.devicePath(ADDRESS)}/driver_override`;
    await LINUX_KERNEL.writeAttribute(path, 'vfio-pci');
    expect(await system.sysfs.overrideOf(ADDRESS)).toContain('vfio-pci');
    await expect(LINUX_KERNEL.writeAttribute(`${path}.no`, 'x')).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
