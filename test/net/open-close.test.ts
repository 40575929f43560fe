import { describe, expect, it } from 'vitest';
import { NetDevice, type NetDeviceOptions } from '../../src/index.js';
import { STATUS } from '../../src/transport/transport.js';
import {
  createSimulatedDevice,
  expectNothingLeft,
  numberedFrame,
  openBench,
  overriding,
  startBench,
  rings,
  withCode,
} from './support.js';

const PACKED = 'VIRTIO_F_RING_PACKED';

describe('open', () => {
  // Proves: core/reserved-feature-bits/1, core/reserved-feature-bits/3, net/device-configuration-layout/2,
  //   net/device-configuration-layout/3, net/device-configuration-layout/6
  it('negotiates, and tells the outcome by name', async () => {
    const { device, finish } = await openBench({ mac: '52:54:00:aa:bb:cc', mtu: 1400 });
    expect(device.mac).toBe('52:54:00:aa:bb:cc');
    expect([...device.macBytes]).toEqual([0x52, 0x54, 0, 0xaa, 0xbb, 0xcc]);
    expect(device.mtu).toBe(1400);
    expect(device.linkUp).toBe(true);
    expect(device.state).toBe('stopped');
    expect(device.address).toBe('simulated');
    expect(device.features.negotiated).toEqual([
      'VIRTIO_NET_F_MTU',
      'VIRTIO_NET_F_MAC',
      'VIRTIO_NET_F_STATUS',
      'VIRTIO_F_RING_INDIRECT_DESC',
      'VIRTIO_F_RING_EVENT_IDX',
      'VIRTIO_F_VERSION_1',
      'VIRTIO_F_ACCESS_PLATFORM',
      ...(rings.format === 'packed' ? [PACKED] : []),
    ]);
    expect(device.features.offered).toContain('VIRTIO_F_RING_INDIRECT_DESC');
    expect(device.features.missing.includes(PACKED)).toBe(rings.format === 'split');
    expect(device.features.missing).toContain('VIRTIO_NET_F_SPEED_DUPLEX');
    expect(device.features.has('VIRTIO_NET_F_MQ')).toBe(false);
    await finish();
  });

  // Proves: net/device-configuration-layout/4, net/device-configuration-layout/5, core/feature-bits/4
  it('does without MAC, MTU and link status where the device tells none', async () => {
    const { device, finish } = await openBench({ features: ['VIRTIO_F_VERSION_1'], behindIommu: false });
    expect(device.features.missing).toContain('VIRTIO_NET_F_MAC');
    expect(device.macBytes[0] & 3).toBe(2);
    expect(device.mtu).toBe(1500);
    expect(device.linkUp).toBe(true);
    await device.start();
    await finish();
  });

  it('makes up another MAC address each time', async () => {
    const first = await openBench({ features: ['VIRTIO_F_VERSION_1'], behindIommu: false });
    const second = await openBench({ features: ['VIRTIO_F_VERSION_1'], behindIommu: false });
    expect(first.device.mac).not.toBe(second.device.mac);
    await first.finish();
    await second.finish();
  });

  // Proves: core/reserved-feature-bits/2, core/device-status-field/3, core/device-initialization/4,
  //   core/device-initialization/5, core/feature-bits/4
  it('fails on a device without VERSION_1, says FAILED to it, and gives everything back', async () => {
    const sim = createSimulatedDevice({ features: ['VIRTIO_NET_F_MAC'] });
    const statuses: number[] = [];
    const { transport } = sim;
    const spied = overriding(transport, {
      writeStatus: (status) => {
        statuses.push(status);
        transport.writeStatus(status);
      },
    });
    await expect(NetDevice.open(spied)).rejects.toThrow(withCode('DEVICE_FEATURE_MISSING'));
    expect(statuses).toEqual([0, 1, 3, 3 | STATUS.FAILED, 0]);
    expectNothingLeft(sim);
  });

  it('fails if a required feature is not offered, and names it', async () => {
    const sim = createSimulatedDevice({ features: ['VIRTIO_F_VERSION_1', 'VIRTIO_F_ACCESS_PLATFORM'] });
    const opening = NetDevice.open(sim.transport, { features: { required: ['VIRTIO_NET_F_MAC'] } });
    await expect(opening).rejects.toThrow('VIRTIO_NET_F_MAC');
    expectNothingLeft(sim);
  });

  it('leaves out what is unwanted', async () => {
    const { device, finish } = await startBench({}, { features: { unwanted: ['VIRTIO_F_RING_EVENT_IDX'] } });
    expect(device.features.has('VIRTIO_F_RING_EVENT_IDX')).toBe(false);
    expect(device.features.missing).not.toContain('VIRTIO_F_RING_EVENT_IDX');
    await finish();
  });

  it('uses only what is wanted, if that is said', async () => {
    const wanted = ['VIRTIO_NET_F_MAC', 'VIRTIO_F_ACCESS_PLATFORM'] as const;
    const { device, finish } = await openBench({}, { features: { wanted } });
    expect(device.features.negotiated).toEqual([
      'VIRTIO_NET_F_MAC',
      'VIRTIO_F_VERSION_1',
      'VIRTIO_F_ACCESS_PLATFORM',
    ]);
    await finish();
  });

  it('fails if the device refuses FEATURES_OK', async () => {
    const sim = createSimulatedDevice({ acceptFeatures: () => false });
    await expect(NetDevice.open(sim.transport)).rejects.toThrow(withCode('DEVICE_FEATURES_REFUSED'));
    expectNothingLeft(sim);
  });

  // Proves: core/reserved-feature-bits/4
  it('gives physical addresses to a device that reads memory around the IOMMU, and no others', async () => {
    const sim = createSimulatedDevice({ features: ['VIRTIO_F_VERSION_1'] });
    await expect(NetDevice.open(sim.transport, { addressing: 'iova' })).rejects.toThrow(
      withCode('DEVICE_BYPASSES_IOMMU'),
    );
    expectNothingLeft(sim);
    const device = await NetDevice.open(sim.transport);
    expect(sim.memory.addressing).toBe('physical');
    await device.close();
    expectNothingLeft(sim);
  });

  it('gives IOVAs to a device that goes through the IOMMU, and no others', async () => {
    const sim = createSimulatedDevice();
    await expect(NetDevice.open(sim.transport, { addressing: 'physical' })).rejects.toThrow(
      withCode('OPTION_INVALID'),
    );
    expectNothingLeft(sim);
    const device = await NetDevice.open(sim.transport, { addressing: 'iova' });
    expect(sim.memory.addressing).toBe('iova');
    await device.close();
    expectNothingLeft(sim);
  });

  it('gives physical addresses where there is no IOMMU, whatever the device says', async () => {
    const sim = createSimulatedDevice({ behindIommu: false });
    await expect(NetDevice.open(sim.transport, { addressing: 'iova' })).rejects.toThrow(
      withCode('VFIO_IOMMU_ABSENT'),
    );
    const device = await NetDevice.open(sim.transport);
    expect(sim.memory.addressing).toBe('physical');
    await device.close();
    expectNothingLeft(sim);
  });

  // Proves: pci/common-configuration-structure-layout/5, core/device-reset/1
  it('fails if the reset does not finish', async () => {
    const sim = createSimulatedDevice();
    const stuck = overriding(sim.transport, { readStatus: () => 15 });
    await expect(NetDevice.open(stuck, { resetTimeout: 5 })).rejects.toThrow(
      withCode('DEVICE_RESET_TIMEOUT'),
    );
    expectNothingLeft(sim);
  });

  // Proves: pci/common-configuration-structure-layout/5, core/device-reset/1
  it('waits for a reset that takes its time', async () => {
    const sim = createSimulatedDevice();
    const { transport } = sim;
    let looks = 0;
    const slow = overriding(transport, { readStatus: () => (++looks < 5 ? 15 : transport.readStatus()) });
    const device = await NetDevice.open(slow);
    expect(looks).toBeGreaterThanOrEqual(5);
    await device.close();
    expectNothingLeft(sim);
  });

  it('fails if there is not enough memory, and leaves none allocated', async () => {
    for (const memoryLimit of [0, 4096, 8192, 16384, 100_000]) {
      const sim = createSimulatedDevice({ memoryLimit });
      await expect(NetDevice.open(sim.transport)).rejects.toThrow(withCode('MEMORY_EXHAUSTED'));
      expectNothingLeft(sim);
    }
  });

  // Proves: core/device-configuration-space/1
  it('reads the configuration again if it changes meanwhile, but not for ever', async () => {
    const sim = createSimulatedDevice();
    let generation = 0;
    const restless = overriding(sim.transport, { readConfigGeneration: () => generation++ & 0xff });
    await expect(NetDevice.open(restless)).rejects.toThrow(withCode('DEVICE_CONFIG_UNSTABLE'));
    expectNothingLeft(sim);
    let changes = 3;
    const settling = overriding(sim.transport, { readConfigGeneration: () => (changes > 0 ? changes-- : 0) });
    const device = await NetDevice.open(settling);
    expect(changes).toBe(0);
    await device.close();
  });

  it('refuses a configuration that has no room for what the device offers', async () => {
    const sim = createSimulatedDevice();
    await expect(NetDevice.open(overriding(sim.transport, { configLength: 7 }))).rejects.toThrow(
      withCode('DEVICE_CONFIG_INVALID'),
    );
    expectNothingLeft(sim);
  });

  it('refuses an MTU below what the specification allows', async () => {
    const sim = createSimulatedDevice();
    const { transport } = sim;
    const tiny = overriding(transport, {
      readConfig: (offset, width) => (offset === 10 ? 67 : transport.readConfig(offset, width)),
    });
    await expect(NetDevice.open(tiny)).rejects.toThrow(withCode('DEVICE_CONFIG_INVALID'));
    expectNothingLeft(sim);
  });

  it.each([0, 1])('refuses a device whose queue has %i descriptors', async (size) => {
    const sim = createSimulatedDevice();
    const odd = overriding(sim.transport, { maxQueueSize: () => size });
    await expect(NetDevice.open(odd)).rejects.toThrow(withCode('DEVICE_QUEUE_UNAVAILABLE'));
    expectNothingLeft(sim);
  });

  it('can be aborted while the device does not finish its reset', async () => {
    const sim = createSimulatedDevice();
    const { transport } = sim;
    const controller = new AbortController();
    const hanging = overriding(transport, {
      readStatus: () => {
        controller.abort(new Error('enough'));
        return 4;
      },
    });
    const opening = NetDevice.open(hanging, { signal: controller.signal, resetTimeout: 2 ** 31 - 1 });
    await expect(opening).rejects.toThrow('enough');
    expectNothingLeft(sim);
  });

  it('gives everything back if the logger throws', async () => {
    const sim = createSimulatedDevice();
    const fail = (): void => {
      throw new Error('disk full');
    };
    const logger = { debug: fail, info: fail, warn: fail, error: fail };
    await expect(NetDevice.open(sim.transport, { logger })).rejects.toThrow('disk full');
    expectNothingLeft(sim);
  });

  it.each([undefined, null, 5, {}])('refuses %s as a device', async (target: unknown) => {
    await expect(NetDevice.open(target as string)).rejects.toThrow(withCode('OPTION_INVALID'));
  });

  it('can be aborted', async () => {
    const sim = createSimulatedDevice();
    await expect(NetDevice.open(sim.transport, { signal: AbortSignal.abort() })).rejects.toThrow('aborted');
    expect(sim.openCount).toBe(0);
    const controller = new AbortController();
    const { transport } = sim;
    const aborting = overriding(transport, {
      readStatus: () => {
        controller.abort();
        return transport.readStatus();
      },
    });
    await expect(NetDevice.open(aborting, { signal: controller.signal })).rejects.toThrow('aborted');
    expectNothingLeft(sim);
  });

  it.each<[string, object]>([
    ['an unknown option', { queuesize: 8 }],
    [
      'a queue size that is no power of two on a split ring',
      { queueSize: 100, features: { unwanted: [PACKED] } },
    ],
    ['a queue size that is no whole number', { queueSize: 99.5 }],
    ['a queue size above what the device has', { queueSize: 512 }],
    ['a queue size of 1', { queueSize: 1 }],
    ['a pool too small for the ring', { poolSize: 256 }],
    ['a pool of NaN', { poolSize: NaN }],
    ['a budget of 0', { budget: 0 }],
    ['a negative timeout', { resetTimeout: -1 }],
    ['an endless timeout', { drainTimeout: Infinity }],
    ['an unknown feature', { features: { required: ['VIRTIO_NET_F_WINGS'] } }],
    ['a feature that the driver lacks', { features: { required: ['VIRTIO_F_SUSPEND'] } }],
    ['a wish for a feature that the driver lacks', { features: { wanted: ['VIRTIO_F_SUSPEND'] } }],
    ['a feature that it can not lack', { features: { unwanted: ['VIRTIO_F_VERSION_1'] } }],
    ['a contradiction', { features: { required: ['VIRTIO_NET_F_MAC'], unwanted: ['VIRTIO_NET_F_MAC'] } }],
  ])('refuses %s', async (_, options) => {
    const sim = createSimulatedDevice();
    await expect(NetDevice.open(sim.transport, options as NetDeviceOptions)).rejects.toThrow(
      withCode('OPTION_INVALID'),
    );
    expectNothingLeft(sim);
  });
});

describe('start, stop and close', () => {
  it('tells the states that it goes through', async () => {
    const { device, finish } = await openBench();
    const states: string[] = [];
    device.on('state', (state) => states.push(state));
    device.on('close', () => states.push('close event'));
    await device.start();
    await device.stop();
    await device.start();
    await device.close();
    expect(states).toEqual([
      'starting',
      'running',
      'stopping',
      'stopped',
      'starting',
      'running',
      'stopping',
      'stopped',
      'closed',
      'close event',
    ]);
    await finish();
  });

  it('can be repeated 200 times without a trace', async () => {
    const sim = createSimulatedDevice({ isolation: true });
    for (let round = 0; round < 200; round += 1) {
      const device = await NetDevice.open(sim.transport, { interrupts: round % 2 === 0 });
      const { available, size } = device.statistics().pool;
      expect(available).toBe(size);
      await device.start();
      await device.send(numberedFrame(round));
      await device.stop();
      expect(device.statistics().pool.available).toBe(size);
      await device.start();
      await device.send(numberedFrame(round));
      await device.close();
      expectNothingLeft(sim);
    }
    expect(sim.statistics.transmittedFrames).toBe(400);
  });

  it('refuses to start twice, and does not mind being stopped twice', async () => {
    const { device, finish } = await startBench();
    await expect(device.start()).rejects.toThrow(withCode('DEVICE_ALREADY_STARTED'));
    expect(device.state).toBe('running');
    await device.stop();
    await device.stop();
    await finish();
  });

  it('runs overlapping calls one after another', async () => {
    const { device, finish } = await openBench();
    const results = await Promise.allSettled([device.start(), device.stop(), device.start(), device.close()]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'fulfilled', 'fulfilled']);
    await finish();
  });

  it('closes once, and says so when asked again', async () => {
    const { device, finish } = await startBench();
    const [first, second] = [device.close(), device.close()];
    await first;
    await second;
    await expect(device.close()).rejects.toThrow(withCode('DEVICE_ALREADY_CLOSED'));
    await device[Symbol.asyncDispose]();
    await finish();
  });

  it('refuses everything after close', async () => {
    const { device, finish } = await startBench();
    await device.close();
    const closed = withCode('DEVICE_CLOSED');
    expect(() => device.receive([])).toThrow(closed);
    expect(() => device.transmit([])).toThrow(closed);
    expect(() => device.allocate()).toThrow(closed);
    expect(() => device.allocateBatch([], 1)).toThrow(closed);
    expect(() => device.poll()).toThrow(closed);
    expect(() => device.frames()).toThrow(closed);
    await expect(device.send(numberedFrame(1))).rejects.toThrow(closed);
    await expect(device.flush()).rejects.toThrow(closed);
    await expect(device.start()).rejects.toThrow(closed);
    await expect(device.stop()).rejects.toThrow(closed);
    expect(device.state).toBe('closed');
    expect(device.statistics().pool.available).toBe(0);
    await finish();
  });

  it('refuses traffic while it is not started', async () => {
    const { device, finish } = await openBench();
    const stopped = withCode('DEVICE_NOT_STARTED');
    expect(() => device.receive([])).toThrow(stopped);
    expect(() => device.transmit([])).toThrow(stopped);
    expect(() => device.poll()).toThrow(stopped);
    await expect(device.send(numberedFrame(1))).rejects.toThrow(stopped);
    await finish();
  });

  it('leaves views of packets empty after close, and forgives a late release', async () => {
    const { device, finish } = await startBench();
    const packet = device.allocate();
    const view = packet.bytes;
    expect(view.length).toBeGreaterThan(1514);
    await finish();
    expect(view.length).toBe(0);
    expect(packet.frame.length).toBe(0);
    expect(packet.copy().length).toBe(0);
    expect(packet.capacity).toBe(0);
    packet.release();
  });

  // Proves: core/device-cleanup/2
  it('frees nothing that a device which can not be reset might still write to', async () => {
    const sim = createSimulatedDevice();
    const { transport } = sim;
    let stuck = false;
    let freeBeforeClose: number | undefined;
    const broken = overriding(transport, {
      readStatus: () => (stuck ? 15 : transport.readStatus()),
      close: () => {
        freeBeforeClose = transport.memory.allocatedBytes;
        return transport.close();
      },
    });
    const device = await NetDevice.open(broken, { resetTimeout: 5 });
    await device.start();
    const allocated = sim.memory.allocatedBytes;
    stuck = true;
    await expect(device.stop()).rejects.toThrow(withCode('DEVICE_RESET_TIMEOUT'));
    expect(device.state).toBe('failed');
    expect(() => device.receive([])).toThrow(withCode('DEVICE_RESET_TIMEOUT'));
    await device.close();
    expect(freeBeforeClose).toBe(allocated);
    expectNothingLeft(sim);
  });

  it('comes to rest if the start fails, and can be started again', async () => {
    const sim = createSimulatedDevice();
    const { transport } = sim;
    let fail = true;
    const flaky = overriding(transport, {
      enableQueue: (queue, layout) => {
        if (queue === 1 && fail) throw new Error('no');
        transport.enableQueue(queue, layout);
      },
    });
    const device = await NetDevice.open(flaky);
    await expect(device.start()).rejects.toThrow('no');
    expect(device.state).toBe('stopped');
    expect(device.statistics().pool.available).toBe(device.statistics().pool.size);
    fail = false;
    await device.start();
    expect(device.state).toBe('running');
    await device.close();
    expectNothingLeft(sim);
  });

  it('does not start again with a device that no longer offers what it did', async () => {
    const sim = createSimulatedDevice();
    const { transport } = sim;
    let offered = transport.readDeviceFeatures();
    const device = await NetDevice.open(overriding(transport, { readDeviceFeatures: () => offered }));
    await device.start();
    await device.stop();
    offered = 1n << 32n;
    await expect(device.start()).rejects.toThrow(withCode('DEVICE_FEATURE_MISSING'));
    expect(device.state).toBe('stopped');
    await device.close();
    expectNothingLeft(sim);
  });
});
