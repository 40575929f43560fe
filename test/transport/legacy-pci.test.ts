import { describe, expect, it } from 'vitest';
import { SILENT } from '../../src/log.js';
import { negotiate, resetDevice } from '../../src/net/initialisation.js';
import { chooseFeatures } from '../../src/net/features.js';
import { readNetConfig } from '../../src/net/config-space.js';
import { LegacyPciTransport } from '../../src/transport/legacy-pci.js';
import type { InterruptOptions } from '../../src/transport/pci-interrupts.js';
import { STATUS, type QueueLayout } from '../../src/transport/transport.js';
import { FakeLegacyDevice, NO_VECTOR, type FakeLegacyOptions } from './fake-legacy-device.js';

function make(
  options: FakeLegacyOptions = {},
  interrupts: InterruptOptions = {},
): { device: FakeLegacyDevice; transport: LegacyPciTransport } {
  const device = new FakeLegacyDevice(options);
  return { device, transport: new LegacyPciTransport(device.pci, { log: SILENT, ...interrupts }) };
}

/** A ring as the legacy interface has it: 256 descriptors, available ring, and the used ring on the next page. */
function ringAt(address: number, size = 256): QueueLayout {
  const at = (value: number): { lo: number; hi: number } => ({
    lo: value % 2 ** 32,
    hi: Math.floor(value / 2 ** 32),
  });
  const driver = address + 16 * size;
  return {
    size,
    descriptorArea: at(address),
    driverArea: at(driver),
    deviceArea: at(Math.ceil((driver + 6 + 2 * size) / 4096) * 4096),
  };
}

const NO_HANDLERS = { queue: () => undefined, config: () => undefined };
const code = (name: string): unknown => expect.objectContaining({ code: name });
const MAC_AND_STATUS = (1 << 5) | (1 << 16);

describe('the legacy interface', () => {
  it('has 32 feature bits', () => {
    const { device, transport } = make({ features: 0xf000_0021 });
    expect(transport.legacy).toBe(true);
    expect(transport.readDeviceFeatures()).toBe(0xf000_0021n);
    transport.writeDriverFeatures(0x8000_0020n);
    expect(device.driverFeatures).toBe(0x8000_0020);
    expect(() => transport.writeDriverFeatures(1n << 32n)).toThrow(code('OPTION_INVALID'));
    expect(() => transport.writeDriverFeatures(-1n)).toThrow(code('OPTION_INVALID'));
    expect(device.violations).toEqual([]);
  });

  it('is negotiated without FEATURES_OK', async () => {
    const { device, transport } = make({ features: MAC_AND_STATUS });
    await resetDevice(transport, 100);
    const features = negotiate(transport, (offered) => chooseFeatures(offered, {}, { legacy: true }));
    expect(features.negotiated).toEqual(['VIRTIO_NET_F_MAC', 'VIRTIO_NET_F_STATUS']);
    expect(device.driverFeatures).toBe(MAC_AND_STATUS);
    expect(device.status).toBe(STATUS.ACKNOWLEDGE | STATUS.DRIVER);
    expect(device.violations).toEqual([]);
  });

  it('shows how many queues there are by their sizes', () => {
    expect(make({ queueSizes: [256, 128, 64] }).transport.queueCount).toBe(3);
    expect(make({ queueSizes: [] }).transport.queueCount).toBe(0);
    const { transport } = make({ queueSizes: [256, 128, 64] });
    expect([0, 1, 2, 3, -1, 0.5, 70_000].map((queue) => transport.maxQueueSize(queue))).toEqual([
      256, 128, 64, 0, 0, 0, 0,
    ]);
  });

  it('counts the queues again when the features or the device changed', () => {
    const { device, transport } = make();
    expect(transport.queueCount).toBe(3);
    device.queues.pop();
    expect(transport.queueCount).toBe(3);
    transport.writeDriverFeatures(0n);
    expect(transport.queueCount).toBe(2);
    transport.writeStatus(0);
    expect(transport.queueCount).toBe(3);
  });

  it('refuses sizes that no queue can have', () => {
    const { transport } = make({ queueSizes: [100, 0x8000] });
    expect(() => transport.maxQueueSize(0)).toThrow(/says it has 100 entries/);
    expect(transport.maxQueueSize(1)).toBe(0x8000);
  });

  it('tells a device that its BAR 0 is too short for the registers', () => {
    expect(() => make({ barSize: 16 })).toThrow(code('PCI_CAPABILITY_INVALID'));
  });
});

describe('queues of the legacy interface', () => {
  it('are told by the number of their page', () => {
    const { device, transport } = make();
    transport.enableQueue(1, ringAt(0x12_3456_7000));
    expect(device.queues.map(({ frame }) => frame)).toEqual([0, 0x123_4567, 0]);
    transport.enableQueue(0, ringAt(0xffff_ffff * 4096));
    expect(device.queues[0]?.frame).toBe(0xffff_ffff);
    transport.notify(1);
    expect(device.notified).toEqual([1]);
    expect(device.violations).toEqual([]);
  });

  it('can not lie where the number of their page has more than 32 bits, or is 0', () => {
    const { device, transport } = make();
    expect(() => transport.enableQueue(0, ringAt(0x1_0000_0000 * 4096))).toThrow(
      /can not lie at 0x100000000000:/,
    );
    expect(() => transport.enableQueue(0, ringAt(0))).toThrow(code('DEVICE_QUEUE_UNAVAILABLE'));
    expect(device.queues[0]?.frame).toBe(0);
  });

  it('lie in one piece', () => {
    const { device, transport } = make();
    const good = ringAt(0x10000);
    const bad: QueueLayout[] = [
      { ...good, descriptorArea: { lo: 0x10010, hi: 0 } },
      { ...good, driverArea: { lo: 0x20000, hi: 0 } },
      { ...good, deviceArea: { lo: good.deviceArea.lo + 4096, hi: 0 } },
      { ...good, deviceArea: { lo: good.deviceArea.lo, hi: 1 } },
    ];
    for (const layout of bad) expect(() => transport.enableQueue(0, layout)).toThrow(code('OPTION_INVALID'));
    expect(device.queues[0]?.frame).toBe(0);
  });

  it('have one size', () => {
    const { device, transport } = make();
    expect(() => transport.enableQueue(0, ringAt(0x10000, 128))).toThrow(/has 256 entries, not 128/);
    expect(() => transport.enableQueue(0, { ...ringAt(0x10000), size: 100 })).toThrow(code('OPTION_INVALID'));
    expect(() => transport.enableQueue(3, ringAt(0x10000))).toThrow(/does not exist/);
    expect(device.queues.every(({ frame }) => frame === 0)).toBe(true);
  });

  it('are enabled once, until a reset', async () => {
    const { device, transport } = make();
    transport.enableQueue(0, ringAt(0x10000));
    expect(() => transport.enableQueue(0, ringAt(0x10000))).toThrow(/is enabled already/);
    await expect(transport.resetQueue(0)).rejects.toThrow(code('FEATURE_NOT_NEGOTIATED'));
    expect(() => transport.notify(1)).toThrow(code('DEVICE_QUEUE_UNAVAILABLE'));
    transport.writeStatus(0);
    expect(() => transport.notify(0)).toThrow(code('DEVICE_QUEUE_UNAVAILABLE'));
    transport.enableQueue(0, ringAt(0x10000));
    expect(device.violations).toEqual([]);
  });
});

describe('the configuration of the legacy interface', () => {
  const config = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56, 1, 0, 2, 0);

  it('moves by 4 bytes while MSI-X is on', () => {
    const { device, transport } = make({ config });
    const mac = (): number[] => Array.from({ length: 6 }, (_, at) => transport.readConfig(at, 1));
    expect(mac()).toEqual([...config.subarray(0, 6)]);
    expect(transport.configLength).toBe(44);
    transport.enableInterrupts(2, NO_HANDLERS);
    expect(mac()).toEqual([...config.subarray(0, 6)]);
    expect(transport.readConfig(8, 2)).toBe(2);
    expect(transport.configLength).toBe(40);
    transport.disableInterrupts();
    expect(mac()).toEqual([...config.subarray(0, 6)]);
    expect(transport.configLength).toBe(44);
    expect(device.violations).toEqual([]);
  });

  it('can be written, such as the MAC address', () => {
    const { device, transport } = make();
    for (const on of [false, true]) {
      if (on) transport.enableInterrupts(1, NO_HANDLERS);
      for (let at = 0; at < 6; at++) transport.writeConfig(at, 1, 0xa0 + at + (on ? 8 : 0));
    }
    expect([...device.config.subarray(0, 6)]).toEqual([0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad]);
    expect(() => transport.writeConfig(64, 1, 0)).toThrow(code('DEVICE_CONFIG_INVALID'));
    expect(device.violations).toEqual([]);
  });

  it('has a generation that changes when a field does', () => {
    const { device, transport } = make();
    const first = transport.readConfigGeneration();
    expect(transport.readConfigGeneration()).toBe(first);
    device.config[6] = 1;
    const second = transport.readConfigGeneration();
    expect(second).not.toBe(first);
    transport.enableInterrupts(1, NO_HANDLERS);
    expect(transport.readConfigGeneration()).toBe(second);
  });

  it('is read until it is twice the same', () => {
    const { device, transport } = make({ features: MAC_AND_STATUS, config: config.slice() });
    const features = chooseFeatures(BigInt(MAC_AND_STATUS), {}, { legacy: true });
    let reads = 0;
    // The address changes while it is being read for the first time.
    device.beforeConfigRead = (offset) => {
      if (offset === 3 && ++reads === 2) device.config.fill(0xee, 0, 6);
    };
    expect(readNetConfig(transport, features).mac).toEqual(new Uint8Array(6).fill(0xee));
    device.beforeConfigRead = () => void (device.config[0] = (device.config[0] + 1) & 0xff);
    expect(() => readNetConfig(transport, features)).toThrow(code('DEVICE_CONFIG_UNSTABLE'));
  });
});

describe('interrupts of the legacy interface', () => {
  it.each([
    [8, [0, 1, 2, 3]],
    [3, [0, 1, 1, 2]],
    [2, [0, 1, 1, 1]],
    [1, [0, 0, 0, 0]],
  ])('are spread over %i vectors', (msixVectors, vectors) => {
    const { device, transport } = make({ msixVectors });
    transport.enableInterrupts(3, NO_HANDLERS);
    for (const [queue, { size }] of device.queues.entries())
      transport.enableQueue(queue, ringAt(0x10000 * (queue + 1), size));
    expect([device.configVector, ...device.queues.map(({ vector }) => vector)]).toEqual(vectors);
    transport.disableInterrupts();
    expect([device.configVector, ...device.queues.map(({ vector }) => vector)]).toEqual(
      Array(4).fill(NO_VECTOR),
    );
    expect(device.violations).toEqual([]);
  });

  it('fall back to INTx, where the configuration stays in its place', () => {
    const { device, transport } = make({ refuseVectorsFrom: 0, config: Uint8Array.of(0x52) });
    device.pci.hasIntx = true;
    const calls: string[] = [];
    transport.enableInterrupts(2, {
      queue: (queue) => calls.push(`queue ${queue}`),
      config: () => calls.push('config'),
      spurious: () => calls.push('spurious'),
    });
    transport.enableQueue(0, ringAt(0x10000));
    expect(transport.readConfig(0, 1)).toBe(0x52);
    for (const isr of [1, 2, 3, 0]) {
      device.isr = isr;
      device.pci.intxHandler?.();
    }
    expect(calls).toEqual(['queue 0', 'queue 1', 'config', 'config', 'queue 0', 'queue 1', 'spurious']);
    expect(device.isrReads).toBe(4);
    expect(device.violations).toEqual([]);
  });

  it('touch no register that is not there without MSI-X', () => {
    const { device, transport } = make({ msixVectors: 0, config: new Uint8Array(8) });
    transport.enableQueue(0, ringAt(0x10000));
    transport.disableInterrupts();
    expect(() => transport.enableInterrupts(1, NO_HANDLERS)).toThrow(/neither MSI-X vectors nor INTx/);
    expect(device.config).toEqual(new Uint8Array(8));
    expect(device.violations).toEqual([]);
  });
});

describe('the end of a legacy device', () => {
  it('is a reset, and everything is given back', async () => {
    const { device, transport } = make();
    transport.writeStatus(3);
    transport.enableInterrupts(1, NO_HANDLERS);
    await Promise.all([transport.close(), transport.close()]);
    expect(device.pci.events).toEqual([
      'open BAR 0',
      'enable 2 vectors',
      'status 0',
      'disable',
      'disable MSI-X',
      'close BAR 0',
      'close function',
    ]);
  });

  it('is noticed', async () => {
    const { device, transport } = make();
    transport.enableQueue(0, ringAt(0x10000));
    device.gone = true;
    const calls: (() => unknown)[] = [
      () => transport.readStatus(),
      () => transport.readDeviceFeatures(),
      () => transport.queueCount,
      () => transport.enableQueue(1, ringAt(0x10000)),
      () => transport.enableInterrupts(2, NO_HANDLERS),
      () => transport.readConfig(0, 2),
      () => transport.readConfigGeneration(),
    ];
    for (const call of calls) expect(call, call.toString()).toThrow(code('DEVICE_REMOVED'));
    let told = 0;
    transport.onRemoval(() => told++);
    await new Promise(setImmediate);
    expect(told).toBe(1);
    await transport.close();
    expect(device.pci.events).not.toContain('reset function');
  });
});
