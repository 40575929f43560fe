import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VirtioNetError } from '../../src/errors.js';
import { SILENT } from '../../src/log.js';
import { ModernPciTransport } from '../../src/transport/modern-pci.js';
import { STATUS } from '../../src/transport/transport.js';
import { buildConfigSpace, TYPE, type VirtioCapability } from './fake-config-space.js';
import { FakePciFunction, readBytes, type BarModel } from './fake-pci-function.js';
import { BAR, FakeVirtioDevice, MULTIPLIER, NO_VECTOR, NOTIFY_AT } from './fake-virtio-device.js';
import { code, LAYOUT, make, NO_HANDLERS, warningsIn, writes } from './support.js';

describe('features and status', () => {
  it('reads and writes all 64 feature bits', () => {
    const { device, transport } = make({ features: 0x8000_0001_c000_0003n });
    expect(transport.readDeviceFeatures()).toBe(0x8000_0001_c000_0003n);
    transport.writeDriverFeatures(0x8000_0001_4000_0002n);
    expect(device.driverFeatures).toEqual([0x4000_0002, 0x8000_0001]);
    expect(device.violations).toEqual([]);
  });

  it('refuses feature bits that there are no registers for', () => {
    const { transport } = make();
    expect(() => transport.writeDriverFeatures(1n << 64n)).toThrow(code('OPTION_INVALID'));
    expect(() => transport.writeDriverFeatures(-1n)).toThrow(code('OPTION_INVALID'));
  });

  it('reads and writes the status, of 8 bits', () => {
    const { device, transport } = make();
    transport.writeStatus(STATUS.ACKNOWLEDGE | STATUS.DRIVER);
    expect(device.status).toBe(3);
    expect(transport.readStatus()).toBe(3);
    expect(device.violations).toEqual([]);
  });
});

describe('queues', () => {
  it('tells how many there are and how large they may be', () => {
    const { transport } = make({ queueSizes: [256, 128, 64] });
    expect(transport.queueCount).toBe(3);
    expect([0, 1, 2, 3, 65535, -1].map((queue) => transport.maxQueueSize(queue))).toEqual([
      256, 128, 64, 0, 0, 0,
    ]);
  });

  // Proves: pci/common-configuration-structure-layout/4, pci/pci-device-layout/2
  it('sets a queue up and enables it last', () => {
    const { device, transport } = make();
    transport.enableQueue(1, LAYOUT);
    expect(Object.fromEntries(device.queue(1))).toEqual({
      queue_size: 128,
      queue_msix_vector: NO_VECTOR,
      queue_notify_off: 1,
      queue_notif_config_data: 0,
      queue_desc: 0x1000_0000,
      queue_desc_hi: 1,
      queue_driver: 0xf000_2000,
      queue_driver_hi: 2,
      queue_device: 0x1000_3000,
      queue_device_hi: 3,
      queue_enable: 1,
    });
    expect(writes(device).at(-1)).toBe('queue_enable=1');
    expect(device.queue(0).get('queue_enable')).toBeUndefined();
    expect(device.violations).toEqual([]);
  });

  it('still knows the offered size when a smaller one was written', () => {
    const { transport } = make();
    transport.enableQueue(0, LAYOUT);
    expect(transport.maxQueueSize(0)).toBe(256);
  });

  // Proves: pci/available-buffer-notifications/1, pci/available-buffer-notifications/3
  it('notifies with the queue index, 16 bits wide', () => {
    const { device, transport } = make({ notifyOffOf: (queue) => queue });
    transport.enableQueue(0, LAYOUT);
    transport.enableQueue(1, LAYOUT);
    const before = device.pci.accesses.length;
    transport.notify(1);
    transport.notify(0);
    expect(device.pci.accesses.slice(before)).toEqual([
      { kind: 'write', bar: BAR, offset: NOTIFY_AT + MULTIPLIER, width: 2, value: 1 },
      { kind: 'write', bar: BAR, offset: NOTIFY_AT, width: 2, value: 0 },
    ]);
  });

  it('refuses a second time, until the device was reset', () => {
    const { device, transport } = make();
    transport.enableQueue(0, LAYOUT);
    expect(() => transport.enableQueue(0, LAYOUT)).toThrow(code('DEVICE_QUEUE_UNAVAILABLE'));
    transport.writeStatus(0);
    expect(() => transport.notify(0)).toThrow(code('DEVICE_QUEUE_UNAVAILABLE'));
    transport.enableQueue(0, { ...LAYOUT, size: 256 });
    transport.notify(0);
    expect(device.notified).toEqual([0]);
    expect(device.violations).toEqual([]);
  });

  it('refuses a queue that is not there, or larger than offered, before it writes anything', () => {
    const { device, transport } = make({ queueSizes: [64, 0] });
    expect(() => transport.enableQueue(0, LAYOUT)).toThrow(/at most 64 entries, not 128/);
    expect(() => transport.enableQueue(1, LAYOUT)).toThrow(code('DEVICE_QUEUE_UNAVAILABLE'));
    expect(() => transport.enableQueue(7, LAYOUT)).toThrow(code('DEVICE_QUEUE_UNAVAILABLE'));
    expect(writes(device).filter((one) => !one.startsWith('queue_select'))).toEqual([]);
  });

  // Proves: pci/common-configuration-structure-layout/3
  it('writes only a power of two as the size of a split ring', () => {
    const { device, transport } = make();
    for (const size of [0, 100, -1, 1.5, NaN]) {
      expect(() => transport.enableQueue(0, { ...LAYOUT, size })).toThrow(code('OPTION_INVALID'));
    }
    expect(device.queue(0).get('queue_size')).toBe(256);
  });

  // Proves: pci/common-configuration-structure-layout/2
  it('takes any size but 0 for a packed ring', () => {
    const { device, transport } = make();
    transport.writeDriverFeatures(1n << 34n);
    expect(() => transport.enableQueue(0, { ...LAYOUT, size: 0 })).toThrow(code('OPTION_INVALID'));
    transport.enableQueue(0, { ...LAYOUT, size: 100 });
    expect(device.queue(0).get('queue_size')).toBe(100);
  });

  it('refuses a size that no queue can have', () => {
    const { transport } = make({ queueSizes: [0xffff] });
    expect(() => transport.maxQueueSize(0)).toThrow(/says it has 65535 entries/);
  });

  it('refuses to notify outside of the notification structure', () => {
    const last = 0x1000 / MULTIPLIER - 1;
    const { device, transport } = make({ notifyOffOf: (queue) => last + queue });
    transport.enableQueue(0, LAYOUT);
    expect(() => transport.enableQueue(1, LAYOUT)).toThrow(/is notified at 4096, beyond the 4096 bytes/);
    expect(device.queue(1).get('queue_enable')).toBeUndefined();
    expect(() => transport.notify(1)).toThrow(code('DEVICE_QUEUE_UNAVAILABLE'));
  });
});

describe('device configuration', () => {
  const config = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56, 1, 0, 4, 0);

  it('reads fields of 1, 2 and 4 bytes', () => {
    const { transport } = make({ config });
    expect(transport.configLength).toBe(10);
    expect(transport.readConfig(0, 1)).toBe(0x52);
    expect(transport.readConfig(8, 2)).toBe(4);
    expect(transport.readConfig(4, 4)).toBe(0x0001_5634);
  });

  it('refuses a field beyond what the device has', () => {
    const { transport } = make({ config });
    expect(() => transport.readConfig(8, 4)).toThrow(code('DEVICE_CONFIG_INVALID'));
    expect(() => transport.readConfig(10, 2)).toThrow(/10 bytes and no field of 2 bytes at 10/);
  });

  it('writes fields', () => {
    const bytes = new Uint8Array(8);
    const { transport } = make({ config: bytes });
    transport.writeConfig(5, 1, 0xab);
    expect(bytes[5]).toBe(0xab);
    expect(() => transport.writeConfig(8, 1, 0)).toThrow(code('DEVICE_CONFIG_INVALID'));
    expect(() => transport.writeConfig(1, 2, 0)).toThrow(RangeError);
  });

  it('refuses an access that is not aligned', () => {
    const { transport } = make({ config });
    for (const offset of [1, 3, -2, 0.5, NaN])
      expect(() => transport.readConfig(offset, 2)).toThrow(RangeError);
  });

  it('reads the generation and the ISR status, which reading clears', () => {
    const { device, transport } = make();
    device.generation = 200;
    device.isr = 3;
    expect(transport.readConfigGeneration()).toBe(200);
    expect([transport.readIsr(), transport.readIsr()]).toEqual([3, 0]);
  });
});

describe('closing', () => {
  it('resets the device first, and gives everything back in the reverse order', async () => {
    const device = new FakeVirtioDevice();
    const released: string[] = [];
    const transport = new ModernPciTransport(device.pci, {
      log: SILENT,
      release: () => Promise.resolve(void released.push(...device.pci.events, 'release')),
    });
    transport.writeStatus(STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.FEATURES_OK);
    transport.enableInterrupts(1, NO_HANDLERS);
    transport.enableQueue(0, LAYOUT);
    device.resetDelay = 3;
    await Promise.all([transport.close(), transport.close()]);
    await transport.close();
    expect(released).toEqual([
      ...Array<string>(3).fill('open BAR 4'),
      'enable 2 vectors',
      'open BAR 4',
      'status 0',
      'disable',
      'disable MSI-X',
      ...Array<string>(4).fill('close BAR 4'),
      'close function',
      'release',
    ]);
    expect(device.status).toBe(0);
    expect(() => transport.readStatus()).toThrow(/closed/);
    expect(() => transport.notify(0)).toThrow();
  });

  it('runs no handler while it waits for the reset', async () => {
    const { device, transport } = make({ msixVectors: 1 });
    let calls = 0;
    transport.enableInterrupts(1, { queue: () => calls++, config: () => calls++ });
    transport.writeStatus(STATUS.ACKNOWLEDGE);
    device.resetDelay = 3;
    const closing = transport.close();
    device.pci.handlers[0]?.();
    await closing;
    expect(calls).toBe(0);
  });

  it('resets the function where the device hangs', async () => {
    const log: string[] = [];
    const { device, transport } = make({}, warningsIn(log));
    transport.writeStatus(STATUS.ACKNOWLEDGE);
    device.resetDelay = Infinity;
    await transport.close();
    expect(device.pci.events.slice(3)).toEqual([
      'status 0',
      'disable',
      'reset function',
      ...Array<string>(3).fill('close BAR 4'),
      'close function',
    ]);
    expect(log).toHaveLength(1);

    const worse = make({}, warningsIn(log));
    worse.transport.writeStatus(STATUS.ACKNOWLEDGE);
    worse.device.resetDelay = Infinity;
    worse.device.pci.resettable = false;
    await worse.transport.close();
    expect(log).toHaveLength(3);
    expect(worse.device.pci.events).toContain('close function');
  });

  it('does every step even if all fail, and throws the first failure', async () => {
    const log: string[] = [];
    const device = new FakeVirtioDevice();
    const transport = new ModernPciTransport(device.pci, {
      log: warningsIn(log),
      release: () => Promise.reject(new Error('release is broken')),
    });
    transport.enableInterrupts(1, NO_HANDLERS);
    for (const step of ['disable', 'disable MSI-X', 'close BAR 4', 'close function']) {
      device.pci.broken.add(step);
    }
    await expect(transport.close()).rejects.toThrow('disable is broken');
    expect(device.pci.events.slice(-6)).toEqual([
      'disable',
      'disable MSI-X',
      ...Array<string>(3).fill('close BAR 4'),
      'close function',
    ]);
    expect(log).toHaveLength(7);
  });
});

describe('a whole life', () => {
  // Proves: pci/common-configuration-structure-layout/1, pci/common-configuration-structure-layout/6
  it('keeps to what a driver must and must not write', async () => {
    const { device, transport } = make({ features: 0x1_0000_0020n });
    for (let life = 0; life < 2; life++) {
      transport.writeStatus(0);
      transport.writeStatus(STATUS.ACKNOWLEDGE | STATUS.DRIVER);
      transport.writeDriverFeatures(transport.readDeviceFeatures());
      transport.writeStatus(STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.FEATURES_OK);
      transport.enableInterrupts(3, NO_HANDLERS);
      for (const queue of [0, 1, 2]) {
        transport.enableQueue(queue, { ...LAYOUT, size: transport.maxQueueSize(queue) });
      }
      transport.writeStatus(STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.FEATURES_OK | STATUS.DRIVER_OK);
      for (const queue of [2, 0, 1]) transport.notify(queue);
      transport.readConfigGeneration();
      transport.disableInterrupts();
    }
    await transport.close();
    expect(device.notified).toEqual([2, 0, 1, 2, 0, 1]);
    expect(device.violations).toEqual([]);
  });

  it('stays inside of the BARs, whatever the device says', () => {
    // Mostly what fits a BAR, so that many cases get beyond the capabilities; and sometimes anything.
    const number = fc.oneof(
      { weight: 6, arbitrary: fc.integer({ min: 0, max: 0x200 }) },
      { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffff_ffff }) },
    );
    const capability = (type: number): fc.Arbitrary<VirtioCapability> =>
      fc.record({
        type: fc.constant(type),
        bar: fc.oneof(
          { weight: 6, arbitrary: fc.integer({ min: 0, max: 1 }) },
          { weight: 1, arbitrary: fc.nat(7) },
        ),
        offset: number.map((value) => (value & ~3) >>> 0),
        length: number,
        multiplier: number.map((value) => (value & ~1) >>> 0),
      });
    const capabilities = fc.tuple(...Object.values(TYPE).map(capability));
    const memory = fc.array(fc.uint8Array({ minLength: 0x400, maxLength: 0x400 }), {
      minLength: 2,
      maxLength: 2,
    });
    let reached = 0;
    fc.assert(
      fc.property(capabilities, memory, fc.integer({ min: 0, max: 4 }), (list, bars, vectors) => {
        const pci = new FakePciFunction(buildConfigSpace(list));
        pci.msixVectors = vectors;
        bars.forEach((bytes, bar) => pci.bars.set(bar, memoryBar(bytes)));
        let transport: ModernPciTransport;
        try {
          transport = new ModernPciTransport(pci, { log: SILENT });
        } catch (error) {
          expect(error).toMatchObject({ code: 'PCI_CAPABILITY_INVALID' });
          expect(pci.openWindows).toBe(0);
          return;
        }
        reached++;
        for (const call of allCalls(transport)) expectOnlyOwnErrors(call);
      }),
      { numRuns: 3000 },
    );
    expect(reached).toBeGreaterThan(30);
  });
});

/** A BAR that is nothing but memory: each register reads as what was in it or written to it. */
function memoryBar(bytes: Uint8Array): BarModel {
  return {
    size: bytes.length,
    read: (offset, width) => readBytes(bytes, offset, width),
    write: (offset, width, value) => {
      for (let at = 0; at < width; at++) bytes[offset + at] = Math.floor(value / 256 ** at) & 0xff;
    },
  };
}

/** Every call of a transport that reaches a register. */
function allCalls(transport: ModernPciTransport): (() => unknown)[] {
  return [
    () => transport.readStatus(),
    () => transport.writeStatus(3),
    () => transport.readDeviceFeatures(),
    () => transport.writeDriverFeatures(0xffff_ffff_ffff_ffffn),
    () => transport.enableInterrupts(2, NO_HANDLERS),
    ...[0, 1, 0xffff].flatMap((queue) => [
      () => transport.enableQueue(queue, { ...LAYOUT, size: 1 }),
      () => transport.notify(queue),
    ]),
    () => transport.readConfig(0, 4),
    () => transport.readConfig(Math.max(0, (transport.configLength & ~3) - 4), 4),
    () => transport.readConfig(transport.configLength, 1),
    () => transport.readConfigGeneration(),
    () => transport.readIsr(),
    () => transport.disableInterrupts(),
    () => transport.writeStatus(0),
  ];
}

/** The fake BAR answers an access outside of it with a RangeError, which is no error of this library. */
function expectOnlyOwnErrors(call: () => unknown): void {
  try {
    call();
  } catch (error) {
    expect(error).toBeInstanceOf(VirtioNetError);
  }
}

describe('construction', () => {
  // Proves: pci/virtio-structure-pci-capabilities/5
  it('maps of each structure what it uses, and no more', () => {
    const { device, transport } = make({
      config: new Uint8Array(0x1000),
      notifyLength: 0x40_0000,
      multiplier: 4096,
    });
    transport.enableQueue(2, { ...LAYOUT, size: 64 });
    transport.notify(2);
    transport.notify(2);
    transport.readConfig(0, 4);
    transport.readIsr();
    expect(device.pci.parts).toEqual([
      { bar: BAR, start: 0, end: 0x1000 },
      { bar: BAR, start: 0x1000, end: 0x2000 },
      { bar: BAR, start: 0x2000, end: 0x3000 },
      { bar: BAR, start: NOTIFY_AT + 0x2000, end: NOTIFY_AT + 0x3000 },
    ]);
    expect(device.pci.slowAccesses).toBe(0);
    expect(device.notified).toEqual([2, 2]);
  });

  it('leaves nothing open when it fails', () => {
    const device = new FakeVirtioDevice();
    device.pci.bars.set(2, { size: 0x1000, read: () => 0, write: () => undefined });
    const isrCapability = device.pci.config.findIndex(
      (id, at) => at >= 0x40 && id === 9 && device.pci.config[at + 3] === 3,
    );
    device.pci.config[isrCapability + 4] = 2;
    device.pci.config.fill(0, isrCapability + 8, isrCapability + 12);
    device.pci.broken.add('open BAR 2');
    expect(() => new ModernPciTransport(device.pci, { log: SILENT })).toThrow('open BAR 2 is broken');
    expect(device.pci.openWindows).toBe(0);
    expect(device.pci.events).toEqual(['open BAR 4', 'open BAR 2', 'close BAR 4']);
  });
});
