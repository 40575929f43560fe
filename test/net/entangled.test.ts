/** Everything at once: whatever order calls, failures and the device's own wishes come in, nothing leaks or hangs. */
import { expect, it } from 'vitest';
import { NetDevice, VirtioNetError, type PacketBuffer } from '../../src/index.js';
import { featureBits } from '../../src/sim/features.js';
import { createSimulatedDevice, type SimulatedDevice } from '../../src/sim/index.js';
import { expectNothingLeft, numberedFrame } from './support.js';

const FEATURES = featureBits([
  'VIRTIO_F_VERSION_1',
  'VIRTIO_F_ACCESS_PLATFORM',
  'VIRTIO_F_RING_EVENT_IDX',
  'VIRTIO_F_RING_RESET',
  'VIRTIO_NET_F_MAC',
  'VIRTIO_NET_F_STATUS',
  'VIRTIO_NET_F_CTRL_VQ',
  'VIRTIO_NET_F_CTRL_RX',
  'VIRTIO_NET_F_CTRL_MAC_ADDR',
  'VIRTIO_NET_F_MQ',
  'VIRTIO_NET_F_RSS',
  'VIRTIO_NET_F_GUEST_ANNOUNCE',
]);
const PAIRS = 3;
const STEPS = 60;
const SEEDS = 40;

/** Numbers that look random and are the same each time. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

async function live(seed: number, packed: boolean): Promise<void> {
  const random = generator(seed);
  const sim = createSimulatedDevice({
    isolation: true,
    host: null,
    maxQueuePairs: 4,
    features: FEATURES | (packed ? 1n << 34n : 0n),
  });
  const interrupts = random(2) === 0;
  const device = await NetDevice.open(sim.transport, {
    queuePairs: PAIRS,
    queueSize: 8,
    drainTimeout: 10,
    controlTimeout: 100,
    interrupts,
    recovery: random(2) === 0 ? 'automatic' : 'manual',
    features: { extra: ['VIRTIO_NET_F_RSS'] },
  });
  const alien: unknown[] = [];
  const calls: Promise<unknown>[] = [];
  const settle = (call: Promise<unknown>): void => {
    calls.push(
      call.catch((error: unknown) => {
        if (!(error instanceof VirtioNetError)) alien.push(error);
      }),
    );
  };
  const attempt = (step: () => unknown): void => {
    try {
      step();
    } catch (error) {
      if (!(error instanceof VirtioNetError)) alien.push(error);
    }
  };
  device.on('frame', (packet) => {
    if (random(8) === 0) attempt(() => device.transmit([packet]));
    if (random(40) === 0) settle(device.reset());
  });
  device.on('state', () => {
    if (random(10) === 0) settle(device.reset());
  });
  const batch: PacketBuffer[] = [];
  const steps: (() => void)[] = [
    () => settle(device.start()),
    () => settle(device.start()),
    () => settle(device.start()),
    () => settle(device.stop()),
    () => settle(device.reset()),
    () => settle(device.resetQueue(random(PAIRS), 'receive')),
    () => settle(device.resetQueue(random(PAIRS), 'transmit')),
    () => settle(device.setQueuePairs(1 + random(PAIRS))),
    () => settle(device.control.setRss({ transmitPairs: 1 + random(PAIRS) })),
    () => settle(device.control.setReceiveMode({ promiscuous: random(2) === 0 })),
    () => settle(device.send(numberedFrame(1))),
    () => settle(device.flush()),
    () => {
      for (let n = 0; n < 12; n += 1) settle(device.send(numberedFrame(n)));
    },
    () =>
      attempt(() => {
        const pair = device.queuePair(random(PAIRS));
        const packet = pair.allocate();
        packet.setFrame(numberedFrame(3));
        let taken = 0;
        try {
          taken = pair.transmit([packet]);
        } finally {
          if (taken === 0) packet.release();
        }
      }),
    () =>
      attempt(() => {
        const count = device.receive(batch, 1 + random(8));
        for (let n = 0; n < count; n += 1) batch[n].release();
      }),
    () => attempt(() => device.poll()),
    () => attempt(() => sim.inject(numberedFrame(random(100)))),
    () => attempt(() => sim.inject(numberedFrame(random(100)))),
    () => sim.setLink(random(2) === 0),
    () => sim.announce(),
    () => sim.holdTransmit(random(2) === 0),
    () => {
      if (random(4) === 0) sim.needsReset();
    },
  ];
  await device.start();
  for (let step = 0; step < STEPS; step += 1) {
    steps[random(steps.length)]();
    const turns = random(3);
    for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }
  const end = random(4);
  if (end === 0) sim.requestRemoval();
  else if (end === 1) sim.unplug();
  else if (end === 2) await expectWorks(device, sim);
  if (random(2) === 0) await new Promise((resolve) => setImmediate(resolve));
  await device[Symbol.asyncDispose]();
  await Promise.all(calls);
  expect(alien).toEqual([]);
  expectNothingLeft(sim);
}

/** Nothing was lost on the way: all buffers are back, and the device runs as a new one does. */
async function expectWorks(device: NetDevice, sim: SimulatedDevice): Promise<void> {
  device.removeAllListeners();
  sim.holdTransmit(false);
  await device.stop();
  for (const { pool } of device.statistics().queuePairs) expect(pool.available).toBe(pool.size);
  await device.setQueuePairs(PAIRS);
  await device.start();
  for (let number = 0; number < PAIRS; number += 1) {
    const pair = device.queuePair(number);
    const packet = pair.allocate();
    packet.setFrame(numberedFrame(number));
    expect(pair.transmit([packet])).toBe(1);
  }
  if (device.statistics().interrupts.receive === 0) device.poll();
  await device.flush();
}

it.each([false, true])('comes to a good end: packed %s', { timeout: 60_000 }, async (packed) => {
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    try {
      await live(seed, packed);
    } catch (error) {
      throw new Error(`with seed ${seed}`, { cause: error });
    }
  }
});
