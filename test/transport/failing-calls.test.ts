/** Each call of the native shim failing, one at a time, in the life of a card. */
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { VirtioNetError } from '../../src/errors.js';
import { SILENT } from '../../src/log.js';
import { shim } from '../../src/native/shim.js';
import { openPciTransport } from '../../src/transport/open-pci.js';
import { STATUS, type Transport } from '../../src/transport/transport.js';
import { openVfioFunction } from '../../src/vfio/index.js';
import { buildShim } from '../native/build-shim.js';
import { openFileCount, sharedAnonymousCount } from '../native/process-state.js';
import { FakeKernel } from '../vfio/fake-kernel.js';
import { FakeSystem } from '../vfio/fake-system.js';
import { buildConfigSpace, TYPE } from './fake-config-space.js';

// Not every user may ask the kernel where pages lie.
vi.mock(import('../../src/native/page-frames.js'), async (original) => ({
  ...(await original()),
  physicalPages: (_address: number, size: number) =>
    Array.from({ length: size / 4096 }, (_, index) => BigInt(2 ** 33 + 8192 * index)),
}));

const ADDRESS = '0000:00:10.0';
const COMMON_SIZE = 56;
let system: FakeSystem;

beforeEach(() => {
  buildShim();
  system = new FakeSystem();
  system.addDevice(ADDRESS, { driver: 'vfio-pci', group: '7' });
  system.addIds(ADDRESS, 0x1af4, 0x1041);
  system.addDeviceFile('vfio');
  system.addDeviceFile('7');
});
afterEach(() => {
  vi.restoreAllMocks();
  system.remove();
});

/** A card whose registers are plain memory: it takes everything and does nothing. */
function makeKernel(): FakeKernel {
  const config = buildConfigSpace([
    { type: TYPE.COMMON, bar: 4, offset: 0, length: COMMON_SIZE },
    { type: TYPE.ISR, bar: 4, offset: 0x1000, length: 1 },
    { type: TYPE.DEVICE, bar: 4, offset: 0x2000, length: 16 },
    { type: TYPE.NOTIFY, bar: 4, offset: 0x3000, length: 0x1000 },
  ]);
  const bar = new Uint8Array(COMMON_SIZE);
  new DataView(bar.buffer).setUint16(18, 1, true);
  new DataView(bar.buffer).setUint16(24, 256, true);
  return new FakeKernel(system.folder, config, bar);
}

interface Life {
  /** What the steps of a card's life threw, by their name. */
  readonly errors: Record<string, unknown>;
  restored: number;
}

/** Opens a card, uses it, and closes it; where a step fails, the rest is left out but for closing. */
async function live(): Promise<Life> {
  const life: Life = { errors: {}, restored: 0 };
  const step = async <T>(name: string, action: () => T): Promise<Awaited<T> | undefined> => {
    try {
      return await action();
    } catch (error) {
      life.errors[name] = error;
      return undefined;
    }
  };
  const transport = await step('open', () => open(life));
  if (transport === undefined) return life;
  await step('use', () => use(transport));
  await step('close', () => transport.close());
  return life;
}

function open(life: Life): Promise<Transport> {
  const { sysfsRoot, devRoot } = system;
  const restore = (): Promise<void> => Promise.resolve(void (life.restored += 1));
  return openPciTransport(
    ADDRESS,
    { log: SILENT, sysfsRoot },
    {
      bind: () => Promise.resolve({ address: ADDRESS, changed: true, previousDriver: 'virtio-pci', restore }),
      openFunction: (address, { log }) => openVfioFunction(address, { log, sysfsRoot, devRoot }),
    },
  );
}

function use(transport: Transport): void {
  const [rings, packets] = [transport.memory.allocate(8192), transport.memory.allocate(65_536)];
  transport.enableInterrupts(1, { queue: () => undefined, config: () => undefined });
  transport.enableQueue(0, {
    size: 256,
    descriptorArea: rings.addressOf(0),
    driverArea: rings.addressOf(4096),
    deviceArea: rings.addressOf(6144),
  });
  transport.writeStatus(STATUS.DRIVER_OK);
  transport.notify(0);
  transport.disableInterrupts();
  transport.enableInterrupts(1, { queue: () => undefined, config: () => undefined });
  transport.writeStatus(0);
  rings.free();
  packets.free();
}

/** What must be the same after each life. */
function holdings(kernel: FakeKernel): Record<string, number> {
  const maps = readFileSync('/proc/self/maps', 'utf8').split('\n');
  return {
    files: openFileCount(),
    memory: sharedAnonymousCount(),
    bars: maps.filter((line) => line.includes(kernel.devicePath)).length,
  };
}

/** Calls without which a card works, or that closing the last file makes up for. */
const DISPENSABLE = [
  'vfio_check_extension',
  'memory_map',
  'close',
  'vfio_group_detach',
  // Where so many vectors can not be had, there are fewer.
  'eventfd_create',
  'vfio_irq_enable',
];
const CODES = ['VFIO_NOT_AVAILABLE', 'VFIO_CALL_FAILED', 'NATIVE_CALL_FAILED', 'MEMORY_NOT_PINNED'];

describe('a call of the shim that fails', () => {
  it.each([
    ['with an IOMMU', 'DMAR'],
    ['without one', 'vfio-noiommu'],
  ])('leaks nothing and is told, whichever it is, %s', async (_, groupName) => {
    system.addGroupName('7', groupName);
    system.addDeviceFile('noiommu-7');
    const kernel = makeKernel();
    expect((await live()).errors).toEqual({});
    const before = holdings(kernel);
    const names = [...kernel.calls];
    // After it the function closes, which turns bus mastering off once more.
    const lastOfTransport = names.lastIndexOf('memory_unmap');
    for (const [number, name] of names.entries()) {
      kernel.restart(number);
      const { errors, restored } = await live();
      const label = `${name}, call ${number}`;
      expect(kernel.calls[number], label).toBe(name);
      expect(kernel.violations, label).toEqual([]);
      expect({ ...holdings(kernel), restored }, label).toEqual({ ...before, restored: 1 });
      const codes = Object.values(errors).map((error) => error instanceof VirtioNetError && error.code);
      expect(CODES, label).toEqual(expect.arrayContaining(codes));
      if (codes.length === 0 && number < lastOfTransport) expect(DISPENSABLE, label).toContain(name);
    }
  });

  it.each([
    ['with an IOMMU', 'DMAR', 'vfio_unmap_dma'],
    ['without one', 'vfio-noiommu', 'memory_unpin'],
  ] as const)(
    'cuts the device off before its memory goes, whatever fails, %s',
    async (_, groupName, free) => {
      system.addGroupName('7', groupName);
      system.addDeviceFile('noiommu-7');
      makeKernel();
      const transport = await open({ errors: {}, restored: 0 });
      transport.memory.allocate(4096);
      // Neither can bus mastering be turned off; the kernel does that when the device is closed.
      vi.mocked(shim().region_write).mockReturnValue(-5);
      await expect(transport.close()).rejects.toMatchObject({ code: 'VFIO_CALL_FAILED' });
      const device = vi.mocked(shim().vfio_device_fd).mock.results[0].value as number;
      const { calls, invocationCallOrder } = vi.mocked(shim().close).mock;
      const closed = invocationCallOrder[calls.findIndex(([fd]) => fd === device)];
      expect(vi.mocked(shim()[free]).mock.invocationCallOrder[0]).toBeGreaterThan(closed);
      expect(transport.memory.allocatedBytes).toBe(0);
    },
  );

  it('leaves no memory behind that was never unmapped, and touches no closed container for it', async () => {
    const kernel = makeKernel();
    const before = holdings(kernel);
    const unmap = vi.spyOn(shim(), 'vfio_unmap_dma').mockReturnValue(-5);
    const transport = await open({ errors: {}, restored: 0 });
    const region = transport.memory.allocate(4096);
    expect(() => region.free()).toThrow(expect.objectContaining({ code: 'VFIO_CALL_FAILED', errno: 5 }));
    expect(region.buffer.byteLength).toBe(4096);
    await transport.close();
    const calls = unmap.mock.calls.length;
    region.free();
    expect(unmap).toHaveBeenCalledTimes(calls);
    expect(transport.memory.allocatedBytes).toBe(0);
    expect(holdings(kernel)).toEqual(before);
  });
});
