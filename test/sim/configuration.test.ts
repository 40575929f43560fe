import { describe, expect, it } from 'vitest';
import { createSimulatedDevice, SIMULATED_FEATURES } from '../../src/sim/index.js';
import { expectViolation, negotiate, NEEDS_RESET, recorder, Ring, turn } from './support.js';
import { BASE, ackOf, ERR, command, ipFrame, le16, le32, OK, startAll, withControl } from './net-bench.js';

const RSS = withControl('VIRTIO_NET_F_RSS', 'VIRTIO_NET_F_SPEED_DUPLEX', 'VIRTIO_NET_F_HASH_TUNNEL');

describe('the configuration', () => {
  it('has a field for each feature', () => {
    const { transport } = createSimulatedDevice({
      features: [...RSS, 'VIRTIO_NET_F_MTU'],
      maxQueuePairs: 3,
      mtu: 9000,
      speed: 10_000,
      duplex: 'full',
      rssMaxKeySize: 52,
      rssMaxTableLength: 512,
      hashTypes: 0x3f,
      tunnelTypes: 0x10,
    });
    expect(transport.configLength).toBe(28);
    expect([6, 8, 10, 18].map((at) => transport.readConfig(at, 2))).toEqual([1, 3, 9000, 512]);
    expect([12, 20, 24].map((at) => transport.readConfig(at, 4))).toEqual([10_000, 0x3f, 0x10]);
    expect([16, 17].map((at) => transport.readConfig(at, 1))).toEqual([1, 52]);
  });

  it('has no field for what is not offered', () => {
    const device = createSimulatedDevice({ features: [...BASE, 'VIRTIO_NET_F_MTU'] });
    expect(device.transport.configLength).toBe(12);
    expect(device.transport.readConfig(8, 2)).toBe(0);
    expectViolation(device, /max_virtqueue_pairs, which is not offered/);
  });

  it('tells of a change of speed, by its generation and an interrupt', async () => {
    const { calls, handlers } = recorder();
    const device = createSimulatedDevice({ features: RSS, host: null });
    const { transport } = startAll(device, { handlers });
    expect([transport.readConfig(12, 4), transport.readConfig(16, 1)]).toEqual([0xffff_ffff, 0xff]);
    const generation = transport.readConfigGeneration();
    device.setSpeed(2500, 'half');
    await turn();
    expect(calls).toEqual(['config']);
    expect([transport.readConfig(12, 4), transport.readConfig(16, 1)]).toEqual([2500, 0]);
    expect(transport.readConfigGeneration()).not.toBe(generation);
    device.setSpeed();
    expect(transport.readConfig(12, 4)).toBe(0xffff_ffff);
    transport.disableInterrupts();
  });

  it('is the device’s to write', () => {
    const device = createSimulatedDevice();
    device.transport.writeConfig(0, 1, 5);
    expectViolation(device, /wrote the configuration field mac, which is read-only/);
  });

  it.each([
    { speed: -1 },
    { speed: 2 ** 31 },
    { duplex: 'other' as 'full' },
    { maxQueuePairs: 0 },
    { rssMaxKeySize: 39 },
    { rssMaxTableLength: 127 },
    { queueSize: [] },
    { queueSize: [256, 3] },
  ])('is checked: %j', (options) => {
    expect(() => createSimulatedDevice(options)).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }));
  });
});

describe('a device that is taken away', () => {
  it('is asked for once, on the event loop, and works until it goes', async () => {
    const device = createSimulatedDevice({ host: null });
    const { transport, rings } = startAll(device);
    let asked = 0;
    transport.onRemoval(() => asked++);
    device.requestRemoval();
    device.requestRemoval();
    expect(asked).toBe(0);
    await turn();
    expect(asked).toBe(1);
    rings[1].send(
      0,
      ipFrame({ source: [1, 2, 3, 4], destination: [1, 2, 3, 5], protocol: 17, ports: [1, 2] }),
    );
    expect(device.statistics.transmittedFrames).toBe(1);
  });

  it('reads as all ones and does nothing when it has gone', async () => {
    const device = createSimulatedDevice({ host: null, isolation: true });
    const { transport, rings } = startAll(device);
    let asked = 0;
    device.unplug();
    transport.onRemoval(() => asked++);
    await turn();
    expect(asked).toBe(1);
    expect(() => transport.readStatus()).toThrow(expect.objectContaining({ code: 'DEVICE_REMOVED' }));
    expect([1, 2, 4].map((width) => transport.readConfig(0, width as 1 | 2 | 4))).toEqual([
      0xff, 0xffff, 0xffff_ffff,
    ]);
    expect(transport.readConfigGeneration()).toBe(0xff);
    expect(transport.readDeviceFeatures()).toBe(2n ** 64n - 1n);
    transport.writeStatus(0);
    transport.writeConfig(0, 1, 1);
    rings[1].send(0, new Uint8Array(60));
    rings[1].free();
    expect(rings[1].size).toBe(8);
    await expect(transport.resetQueue(0, 10)).rejects.toMatchObject({ code: 'DEVICE_REMOVED' });
    await transport.close();
    expect(device.violations).toEqual([]);
  });
});

describe('a queue that is reset by itself', () => {
  const FEATURES = [...BASE, 'VIRTIO_F_RING_RESET'] as const;

  it('starts anew, while the others go on', async () => {
    const device = createSimulatedDevice({ host: null, features: FEATURES, isolation: true });
    const { transport, rings } = startAll(device);
    rings[0].post(0, 1, 2);
    rings[0].notify();
    await transport.resetQueue(0, 1000);
    rings[0].free();
    expect(device.inject(new Uint8Array(60))).toBe(false);
    rings[1].send(0, new Uint8Array(60));
    const fresh = new Ring(transport, 0, 4);
    transport.enableQueue(0, fresh.layout);
    fresh.post(3);
    expect(device.inject(new Uint8Array(60))).toBe(true);
    expect(fresh.collect()).toEqual([{ id: 3, length: 72 }]);
    expect(device.violations).toEqual([]);
  });

  it('must be enabled, and the feature negotiated', async () => {
    const without = createSimulatedDevice({ host: null });
    await expect(startAll(without).transport.resetQueue(0, 10)).rejects.toMatchObject({
      code: 'DEVICE_QUEUE_RESET_TIMEOUT',
    });
    expectViolation(without, /VIRTIO_F_RING_RESET was not negotiated/);
    const device = createSimulatedDevice({ host: null, features: FEATURES });
    const { transport, rings } = startAll(device);
    transport.enableQueue(0, rings[0].layout);
    expectViolation(device, /queue 0 was enabled after DRIVER_OK/);
    const twice = createSimulatedDevice({ host: null, features: FEATURES });
    startAll(twice);
    await twice.transport.resetQueue(0, 10);
    await expect(twice.transport.resetQueue(0, 10)).rejects.toThrow(/was not reset/);
    expectViolation(twice, /queue 0 was reset, but it is not enabled/);
  });
});

describe('interrupts by a line', () => {
  it('say by a register what they are for, and are told from those of others', async () => {
    const { calls, handlers } = recorder();
    const device = createSimulatedDevice({ host: null, features: BASE, vectors: 0 });
    const { transport, rings } = startAll(device, {
      handlers: { ...handlers, spurious: () => void calls.push('spurious') },
    });
    rings[0].post(0);
    device.inject(new Uint8Array(60));
    await turn();
    device.setLink(false);
    await turn();
    device.interruptWithoutCause();
    await turn();
    expect(calls).toEqual(['queue 0', 'queue 1', 'config', 'spurious']);
    transport.disableInterrupts();
  });
});

describe('a legacy device', () => {
  it('has 32 features, no FEATURES_OK, and an address that can be written', () => {
    const device = createSimulatedDevice({ legacy: true, host: null, queueSize: 16 });
    const { transport } = device;
    expect(transport.legacy).toBe(true);
    expect(transport.readDeviceFeatures()).toBe(
      BigInt(1 << SIMULATED_FEATURES.VIRTIO_NET_F_MTU) + (1n << 5n) + (1n << 16n) + (1n << 28n) + (1n << 29n),
    );
    for (const [at, byte] of [2, 0, 0, 0, 0, 1].entries()) transport.writeConfig(at, 1, byte);
    expect(transport.readConfig(0, 4)).toBe(2);
    expect(transport.readConfigGeneration()).toBe(0);
    transport.writeStatus(1);
    transport.writeStatus(3);
    transport.writeDriverFeatures(1n << 5n);
    transport.writeStatus(7);
    expect(transport.readStatus()).toBe(7);
    expect(device.violations).toEqual([]);
  });

  it('finds out a driver that takes it for a modern one', () => {
    const device = createSimulatedDevice({ legacy: true });
    negotiate(device.transport, 0n);
    expectViolation(device, /the driver set the status bits 0x8 at once/);
    const other = createSimulatedDevice({ legacy: true });
    other.transport.writeStatus(1);
    other.transport.writeStatus(3);
    other.transport.writeDriverFeatures(1n);
    other.transport.writeStatus(7);
    expectViolation(other, /accepted features that were not offered/);
    expect(other.transport.readStatus() & NEEDS_RESET).toBe(NEEDS_RESET);
  });
});

describe('notification coalescing', () => {
  const FEATURES = withControl('VIRTIO_NET_F_NOTF_COAL', 'VIRTIO_NET_F_VQ_NOTF_COAL');
  const [COALESCING, TX_SET, RX_SET, VQ_SET, VQ_GET] = [6, 0, 1, 2, 3];

  it('puts off interrupts until there are enough packets', async () => {
    const { calls, handlers } = recorder();
    const device = createSimulatedDevice({ host: null, features: FEATURES });
    const bench = startAll(device, { handlers });
    expect(ackOf(bench, COALESCING, RX_SET, le32(3, 1_000_000))).toBe(OK);
    await turn();
    calls.length = 0;
    bench.rings[0].post(0, 1, 2, 3, 4, 5);
    for (let count = 1; count <= 5; count++) {
      device.inject(new Uint8Array(60));
      await turn();
      expect(calls).toEqual(count < 3 ? [] : ['queue 0']);
    }
    expect(ackOf(bench, COALESCING, RX_SET, le32(2, 1_000_000))).toBe(OK);
    await turn();
    expect(calls.filter((call) => call === 'queue 0')).toHaveLength(2);
    bench.transport.disableInterrupts();
  });

  it('puts them off no longer than was asked for', async () => {
    const { calls, handlers } = recorder();
    const device = createSimulatedDevice({ host: null, features: FEATURES });
    const bench = startAll(device, { handlers });
    expect(ackOf(bench, COALESCING, VQ_SET, [...le16(1, 0), ...le32(9, 100)])).toBe(OK);
    bench.rings[1].send(0, new Uint8Array(60));
    expect(device.statistics.interruptsCoalesced).toBe(1);
    await expect.poll(() => calls).toContain('queue 1');
    bench.transport.disableInterrupts();
  });

  it('has the parameters that were set last', () => {
    const bench = startAll(createSimulatedDevice({ host: null, features: FEATURES }));
    const parameters = (queue: number): number[] => [
      ...command(bench, COALESCING, VQ_GET, le16(queue, 0), 9),
    ];
    expect(ackOf(bench, COALESCING, TX_SET, le32(1, 2))).toBe(OK);
    expect(ackOf(bench, COALESCING, VQ_SET, [...le16(1, 0), ...le32(3, 4)])).toBe(OK);
    expect(parameters(1)).toEqual([...le32(3, 4), OK]);
    expect(parameters(0)).toEqual([...le32(0, 0), OK]);
    expect(ackOf(bench, COALESCING, TX_SET, le32(5, 6))).toBe(OK);
    expect(parameters(1)).toEqual([...le32(5, 6), OK]);
    expect(ackOf(bench, COALESCING, RX_SET, le32(5))).toBe(ERR);
    expect(bench.device.violations).toEqual([]);
    expect(parameters(2)).toEqual([...le32(0, 0), ERR]);
    expectViolation(bench.device, /is for queue 2, which is not an enabled transmit or receive queue/);
  });
});

describe('the statistics of a device', () => {
  const FEATURES = withControl('VIRTIO_NET_F_DEVICE_STATS', 'VIRTIO_NET_F_CSUM');
  const [STATS, QUERY, GET] = [8, 0, 1];
  const entry = (queue: number, low: number, high = 0): number[] => [
    ...le16(queue, 0, 0, 0),
    ...le32(low, high),
  ];
  const numbers = (bytes: Uint8Array, at: number, count: number): number[] => {
    const view = new DataView(bytes.buffer, bytes.byteOffset + at);
    return Array.from({ length: count }, (_, index) => Number(view.getBigUint64(8 * index, true)));
  };

  it('are told by queue and type', () => {
    const bench = startAll(createSimulatedDevice({ host: null, features: FEATURES }));
    expect(numbers(command(bench, STATS, QUERY, [], 9), 1, 1)).toEqual([0x1_000f_000f]);
    bench.rings[0].post(0, 1);
    bench.device.inject(new Uint8Array(60));
    bench.rings[1].send(0, new Uint8Array(70));
    const answer = command(
      bench,
      STATS,
      GET,
      [...entry(0, 1), ...entry(1, 3 << 16), ...entry(2, 0, 1)],
      1 + 56 + 56 + 24 + 24,
    );
    expect(answer).toHaveLength(161);
    expect([...answer.slice(0, 9)]).toEqual([OK, 0, 0, 0, 0, 0, 0, 56, 0]);
    expect(numbers(answer, 9, 6)).toEqual([0, 1, 60, 0, 0, 0]);
    expect([...answer.slice(57, 65)]).toEqual([16, 0, 1, 0, 0, 0, 56, 0]);
    expect(numbers(answer, 65, 6)).toEqual([1, 1, 70, 0, 0, 0]);
    expect(numbers(answer, 121, 2)).toEqual([1, 0]);
    expect([...answer.slice(137, 145)]).toEqual([32, 0, 2, 0, 0, 0, 24, 0]);
    expect(numbers(answer, 145, 2)).toEqual([2, 2]);
    expect(bench.device.violations).toEqual([]);
  });

  it.each<[string, number[], RegExp | undefined]>([
    ['a queue that is not there', entry(3, 1), undefined],
    ['an unknown type', entry(0, 1 << 9), undefined],
    ['a type whose feature was not negotiated', entry(0, 2), undefined],
    ['a cut entry', entry(0, 1).slice(1), undefined],
    ['nothing', [], undefined],
    ['statistics of another kind of queue', entry(1, 1), /that queue 1, a transmit queue, does not have/],
  ])('are refused for %s', (_name, data, sentence) => {
    const bench = startAll(createSimulatedDevice({ host: null, features: FEATURES }));
    expect(ackOf(bench, STATS, GET, data)).toBe(ERR);
    if (sentence === undefined) expect(bench.device.violations).toEqual([]);
    else expectViolation(bench.device, sentence);
  });

  it('need room for their headers', () => {
    const bench = startAll(createSimulatedDevice({ host: null, features: FEATURES }));
    expect(command(bench, STATS, GET, entry(0, 1), 20)).toHaveLength(20);
    expect(ackOf(bench, STATS, GET, entry(0, 1))).toBe(ERR);
    expectViolation(bench.device, /has room for 0 bytes: too few for the headers of 1 replies/);
  });
});
