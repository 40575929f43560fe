/** Functions that are opened, with the kernel's part a model: those of one group share what the kernel gives once. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SILENT } from '../../src/log.js';
import { shim } from '../../src/native/shim.js';
import type { PciFunction } from '../../src/pci/pci-function.js';
import { REQUEST_IRQ } from '../../src/vfio/constants.js';
import { openVfioFunction } from '../../src/vfio/index.js';
import { buildShim } from '../native/build-shim.js';
import { openFileCount } from '../native/process-state.js';
import { FakeKernel } from './fake-kernel.js';
import { FakeSystem } from './fake-system.js';

const [FIRST, SECOND] = ['0000:00:1e.0', '0000:00:1e.1'];
const EVENTFD = 1;
let system: FakeSystem;

beforeEach(() => {
  buildShim();
  system = new FakeSystem();
  for (const address of [FIRST, SECOND]) system.addDevice(address, { driver: 'vfio-pci', group: '7' });
  for (const name of ['vfio', '7']) system.addDeviceFile(name);
  new FakeKernel(system.folder, new Uint8Array(256), new Uint8Array(64));
});
afterEach(() => {
  vi.restoreAllMocks();
  system.remove();
});

const open = (address: string): PciFunction =>
  openVfioFunction(address, { log: SILENT, sysfsRoot: system.sysfsRoot, devRoot: system.devRoot });

describe('two functions of a group', () => {
  it('share it until the last is closed, and the addresses in it', () => {
    const before = openFileCount();
    const [first, second] = [open(FIRST), open(SECOND)];
    expect(shim().vfio_set_iommu).toHaveBeenCalledTimes(1);
    const regions = [first, second].map(({ memory }) => memory.allocate(4096));
    expect(regions[0].addressOf(0)).not.toEqual(regions[1].addressOf(0));
    first.close();
    expect(shim().vfio_group_detach).not.toHaveBeenCalled();
    expect(shim().vfio_unmap_dma).toHaveBeenCalledTimes(1);
    expect([first, second].map(({ memory }) => memory.allocatedBytes)).toEqual([0, 4096]);
    second.memory.allocate(4096).free();
    second.close();
    expect(shim().vfio_group_detach).toHaveBeenCalledTimes(1);
    expect(shim().vfio_unmap_dma).toHaveBeenCalledTimes(3);
    expect(openFileCount()).toBe(before);
  });

  it('are opened once each, and again when they were closed', () => {
    const first = open(FIRST);
    const second = open(SECOND);
    expect(() => open(FIRST)).toThrow(expect.objectContaining({ code: 'VFIO_DEVICE_BUSY' }));
    first.close();
    open(FIRST).close();
    second.close();
    expect(shim().vfio_set_iommu).toHaveBeenCalledTimes(1);
  });
});

describe('a function', () => {
  it('changes the kind of addresses only while no memory has any', () => {
    const opened = open(FIRST);
    const region = opened.memory.allocate(4096);
    opened.memory.setAddressing('iova');
    expect(() => opened.memory.setAddressing('physical')).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID' }),
    );
    region.free();
    opened.memory.setAddressing('physical');
    expect(opened.memory.addressing).toBe('physical');
    opened.close();
  });

  it('has one kind of interrupts at a time, and none when it is closed', () => {
    const before = openFileCount();
    vi.mocked(shim().vfio_irq_info).mockImplementation((_device, index, info) => {
      new Uint32Array(info.buffer, info.byteOffset, 4).set([16, EVENTFD, index, 1]);
      return 16;
    });
    const opened = open(FIRST);
    const files = openFileCount();
    opened.enableMsix([() => undefined]);
    opened.enableIntx(() => undefined);
    expect(openFileCount()).toBe(files + 1);
    opened.enableMsix([() => undefined]);
    expect(openFileCount()).toBe(files + 1);
    opened.onRemovalRequest(() => undefined);
    opened.close();
    const disabled = vi.mocked(shim().vfio_irq_disable).mock.calls.map(([, kind]) => kind);
    expect(disabled).toContain(REQUEST_IRQ);
    expect(openFileCount()).toBe(before);
  });
});
