/** Single queues are reset while the others go on (VIRTIO 1.3, 2.6.1). */
import { afterEach, describe, expect, it } from 'vitest';
import type { NetDevice, NetDeviceOptions, PacketBuffer, RecoveryReport } from '../../src/index.js';
import type { SimulatedDevice, SimulatedFeature } from '../../src/sim/index.js';
import { startBreakable } from './breakable.js';
import {
  eventually,
  numberedFrame,
  overriding,
  refillAll,
  startBench,
  withCode,
  type Bench,
} from './support.js';

const FEATURES: readonly SimulatedFeature[] = [
  'VIRTIO_F_VERSION_1',
  'VIRTIO_F_ACCESS_PLATFORM',
  'VIRTIO_F_RING_EVENT_IDX',
  'VIRTIO_F_RING_RESET',
  'VIRTIO_NET_F_MAC',
  'VIRTIO_NET_F_CTRL_VQ',
  'VIRTIO_NET_F_MQ',
];
const SMALL = { queueSize: 4, poolSize: 16 };

let bench: Bench | undefined;
afterEach(async () => {
  await bench?.finish();
  bench = undefined;
});

async function start(options: NetDeviceOptions = {}): Promise<Bench> {
  bench = await startBench({ features: FEATURES }, { ...SMALL, ...options });
  return bench;
}

/** One frame out, and one in. */
async function expectTraffic(sim: SimulatedDevice, device: NetDevice): Promise<void> {
  const sent = sim.statistics.transmittedFrames;
  await device.send(numberedFrame(1));
  await device.flush();
  expect(sim.statistics.transmittedFrames).toBe(sent + 1);
  expect(sim.inject(numberedFrame(2))).toBe(true);
  const batch: PacketBuffer[] = [];
  expect(device.receive(batch)).toBe(1);
  expect(batch[0].frame).toEqual(numberedFrame(2));
  batch[0].release();
}

describe('resetQueue()', () => {
  // Proves: core/virtqueue-reset/2, core/virtqueue-re-enable/1
  it.each(['receive', 'transmit'] as const)(
    'takes the buffers of a %s queue back, and goes on',
    async (direction) => {
      const { sim, device } = await start();
      for (let round = 0; round < 3; round += 1) {
        for (let n = 0; n < 2; n += 1) sim.inject(numberedFrame(n));
        sim.holdTransmit(true);
        for (let n = 0; n < 3; n += 1) await device.send(numberedFrame(n));
        const report = await device.resetQueue(0, direction);
        const lost = direction === 'receive' ? { receive: 2, transmit: 0 } : { receive: 0, transmit: 3 };
        expect(report).toEqual({
          reason: undefined,
          automatic: false,
          queue: { queuePair: 0, direction },
          lost: [{ queuePair: 0, ...lost }],
          lostSettings: [],
        });
        sim.holdTransmit(false);
        await device.flush();
        const batch: PacketBuffer[] = [];
        const count = device.receive(batch);
        expect(count).toBe(direction === 'receive' ? 0 : 2);
        for (const packet of batch) packet.release();
        await expectTraffic(sim, device);
        refillAll(device);
        expect(device.statistics().pool.available).toBe(SMALL.poolSize - SMALL.queueSize);
      }
      expect(device.state).toBe('running');
    },
  );

  it('keeps the order of sends that wait, and rejects the flush of what was lost', async () => {
    const { sim, device } = await start();
    const sent: number[] = [];
    sim.onTransmit((frame) => sent.push(frame[17]));
    sim.holdTransmit(true);
    for (let n = 0; n < 4; n += 1) await device.send(numberedFrame(n));
    const waiting = [4, 5, 6].map((n) => device.send(numberedFrame(n)));
    const flushing = device.flush();
    const resetting = device.resetQueue(0, 'transmit');
    // The queue is left alone from here on, and so is what comes to it.
    const later = device.send(numberedFrame(7));
    const packet = device.allocate().setFrame(numberedFrame(8));
    await Promise.resolve();
    expect(device.transmit([packet])).toBe(0);
    packet.release();
    await expect(flushing).rejects.toThrow(withCode('DEVICE_WAS_RESET'));
    await resetting;
    sim.holdTransmit(false);
    await Promise.all([...waiting, later]);
    expect(sent).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    await device.flush();
  });

  it.each([true, false])('lets other queues go on meanwhile: interrupts %s', async (interrupts) => {
    let letGo: (() => void) | undefined;
    const { sim, device, finish } = await startBreakable(
      { ...SMALL, interrupts, queuePairs: 2 },
      { features: FEATURES },
      (transport) =>
        overriding(transport, {
          resetQueue: async (queue, timeout) => {
            await new Promise<void>((resolve) => (letGo = resolve));
            await transport.resetQueue(queue, timeout);
          },
        }),
    );
    const resetting = device.resetQueue(0, 'receive');
    await eventually(() => letGo !== undefined);
    expect(device.receive([])).toBe(0);
    for (let n = 0; n < 20; n += 1) {
      await device.send(device.queuePair(1).allocate().setFrame(numberedFrame(n)));
      await device.send(numberedFrame(n));
    }
    await device.flush();
    expect(sim.statistics.transmittedFrames).toBe(40);
    letGo?.();
    await resetting;
    await expectTraffic(sim, device);
    await finish();
    expect(sim.violations).toEqual([]);
  });

  it('wakes listeners for what comes afterwards', async () => {
    const { sim, device } = await start();
    const seen: number[] = [];
    device.on('frame', (packet) => seen.push(packet.frame[17]));
    await device.resetQueue(0, 'receive');
    await new Promise((resolve) => setImmediate(resolve));
    sim.inject(numberedFrame(5));
    await eventually(() => seen.length === 1);
    expect(seen).toEqual([5]);
  });

  it('is refused where it can not be', async () => {
    const { device } = await start();
    await expect(device.resetQueue(1, 'receive')).rejects.toThrow(withCode('OPTION_INVALID'));
    await expect(device.resetQueue(0, 'both' as 'receive')).rejects.toThrow(withCode('OPTION_INVALID'));
    await device.stop();
    await expect(device.resetQueue(0, 'receive')).rejects.toThrow(withCode('DEVICE_NOT_STARTED'));
    await device.close();
    await expect(device.resetQueue(0, 'receive')).rejects.toThrow(withCode('DEVICE_CLOSED'));
    const plain = await startBench();
    await expect(plain.device.resetQueue(0, 'receive')).rejects.toThrow(withCode('FEATURE_NOT_NEGOTIATED'));
    await plain.finish();
  });
});

describe('a broken queue of a device that can reset it alone', () => {
  it.each([
    ['receive', 0],
    ['transmit', 1],
  ] as const)('is all that is reset by automatic recovery: %s', async (direction, queue) => {
    const { sim, device, spoil, finish } = await startBreakable(
      { ...SMALL, recovery: 'automatic' },
      { features: FEATURES },
    );
    const states: string[] = [];
    const reports: RecoveryReport[] = [];
    device.on('state', (state) => states.push(state));
    device.on('recovered', (report) => reports.push(report));
    device.on('frame', () => undefined);
    await new Promise((resolve) => setImmediate(resolve));
    spoil(queue);
    if (direction === 'transmit') await device.send(numberedFrame(1));
    await eventually(() => reports.length === 1);
    expect(reports).toMatchObject([
      { reason: { code: 'QUEUE_BROKEN' }, automatic: true, queue: { queuePair: 0, direction } },
    ]);
    expect(states).toEqual([]);
    device.removeAllListeners('frame');
    await expectTraffic(sim, device);
    await finish();
  });

  it.each(['manual', 'automatic'] as const)('that does not become free: %s', async (recovery) => {
    const { sim, device, finish } = await startBreakable(
      { ...SMALL, recovery },
      { features: FEATURES },
      (transport) => overriding(transport, { resetQueue: () => Promise.reject(new Error('stuck')) }),
    );
    const recovered = new Promise((resolve) => device.once('recovered', resolve));
    const errors: Error[] = [];
    device.on('error', (error) => errors.push(error));
    await expect(device.resetQueue(0, 'transmit')).rejects.toThrow('stuck');
    if (recovery === 'manual') {
      expect(device.state).toBe('failed');
      expect(errors).toMatchObject([{ message: 'stuck' }]);
      await device.reset();
    } else {
      expect(await recovered).toMatchObject({ reason: { message: 'stuck' }, queue: undefined });
      expect(errors).toEqual([]);
    }
    await expectTraffic(sim, device);
    await finish();
  });

  it('is left alone by the recovery of a device that was reset as a whole meanwhile', async () => {
    const { sim, device, spoil, finish } = await startBreakable(
      { ...SMALL, recovery: 'automatic', interrupts: false },
      { features: FEATURES },
    );
    const reports: RecoveryReport[] = [];
    device.on('recovered', (report) => reports.push(report));
    spoil(0);
    const resetting = device.reset();
    expect(device.receive([])).toBe(0);
    await resetting;
    await device.resetQueue(0, 'transmit');
    expect(reports).toMatchObject([
      { automatic: false, queue: undefined },
      { automatic: false, queue: { direction: 'transmit' } },
    ]);
    await expectTraffic(sim, device);
    await finish();
  });

  it('is not given to a device that has failed meanwhile', async () => {
    let letGo: (() => void) | undefined;
    const { sim, device, finish } = await startBreakable(SMALL, { features: FEATURES }, (transport) =>
      overriding(transport, {
        resetQueue: async (queue, timeout) => {
          await transport.resetQueue(queue, timeout);
          await new Promise<void>((resolve) => (letGo = resolve));
        },
      }),
    );
    const resetting = device.resetQueue(0, 'receive');
    await eventually(() => letGo !== undefined);
    sim.needsReset();
    await eventually(() => device.state === 'failed');
    letGo?.();
    await expect(resetting).rejects.toThrow(withCode('DEVICE_NEEDS_RESET'));
    await device.reset();
    await expectTraffic(sim, device);
    await finish();
    expect(sim.violations).toEqual([]);
  });
});
