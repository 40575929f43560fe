/** Every call to the transport may throw while a device recovers, too. */
import { describe, expect, it } from 'vitest';
import { NetDevice, type NetDeviceOptions } from '../../src/index.js';
import type { SimulatedDevice, SimulatedFeature } from '../../src/sim/index.js';
import { failAt } from './failing.js';
import { createSimulatedDevice, numberedFrame } from './support.js';

const FEATURES: readonly SimulatedFeature[] = [
  'VIRTIO_F_VERSION_1',
  'VIRTIO_F_ACCESS_PLATFORM',
  'VIRTIO_F_RING_EVENT_IDX',
  'VIRTIO_F_RING_RESET',
  'VIRTIO_NET_F_MAC',
  'VIRTIO_NET_F_STATUS',
  'VIRTIO_NET_F_CTRL_VQ',
  'VIRTIO_NET_F_MQ',
];
const POOL = 16;
const OPTIONS: NetDeviceOptions = {
  queuePairs: 2,
  queueSize: 4,
  poolSize: POOL,
  drainTimeout: 5,
  resetTimeout: 5,
  controlTimeout: 20,
};

/** Calls may throw 'gone', or say that the device does not run because of that, or what became of it. */
const RIGHT_ERRORS = new RegExp(
  [
    '^gone$',
    'is (stopped|failed|stopping|recovering)',
    'was stopped',
    'asks to be reset',
    'was reset before it had finished',
    'not in use',
  ].join('|'),
);

async function settle(call: Promise<unknown>): Promise<void> {
  const [result] = await Promise.allSettled([call]);
  if (result.status === 'rejected') expect((result.reason as Error).message).toMatch(RIGHT_ERRORS);
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** More frames than the rings have room for, over both pairs, some of which the device keeps. */
function crowd(sim: SimulatedDevice, device: NetDevice): Promise<unknown> {
  sim.holdTransmit(true);
  const sends = Array.from({ length: 10 }, (_, n) => {
    if (n % 2 === 0) return settle(device.send(numberedFrame(n)));
    const packet = device.queuePair(1).allocate().setFrame(numberedFrame(n));
    return settle(device.send(packet)).then(() => {
      // What was not taken is still the program's.
      if (packet.owner === 1) packet.release();
    });
  });
  return Promise.all([...sends, settle(device.flush())]);
}

function isIn(device: NetDevice, state: NetDevice['state']): boolean {
  return device.state === state;
}

type Trouble = (sim: SimulatedDevice, device: NetDevice) => Promise<void>;

const TROUBLES: Record<string, Trouble> = {
  'reset()': (_, device) => settle(device.reset()),
  'resetQueue() of reception': (_, device) => settle(device.resetQueue(0, 'receive')),
  'resetQueue() of transmission': (_, device) => settle(device.resetQueue(1, 'transmit')),
  'setQueuePairs()': (_, device) => settle(device.setQueuePairs(1)),
  'a device that asks for a reset': async (sim) => {
    sim.needsReset();
    await turns(10);
  },
};

async function live(sim: SimulatedDevice, device: NetDevice, trouble: Trouble): Promise<void> {
  device.on('frame', () => undefined);
  await settle(device.start());
  if (isIn(device, 'running')) {
    const sends = crowd(sim, device);
    await turns(2);
    await trouble(sim, device);
    sim.holdTransmit(false);
    if (isIn(device, 'failed')) await settle(device.stop());
    await turns(3);
    await settle(device.stop());
    await sends;
  }
  if (device.state === 'stopped') {
    expect(device.statistics().queuePairs.map(({ pool }) => pool.available)).toEqual([POOL, POOL]);
  }
  await device.close();
  expect(device.state).toBe('closed');
}

async function liveWithFailure(
  n: number,
  trouble: Trouble,
  options: NetDeviceOptions,
  forGood: boolean,
): Promise<string | undefined> {
  const sim = createSimulatedDevice({ host: null, features: FEATURES, maxQueuePairs: 2 });
  const failing = failAt(sim, n, forGood);
  const [opened] = await Promise.allSettled([NetDevice.open(failing.transport, { ...OPTIONS, ...options })]);
  if (opened.status === 'fulfilled') await live(sim, opened.value, trouble);
  else expect((opened.reason as Error).message).toBe('gone');
  expect(failing.closed).toBe(1);
  expect(sim.memory.allocatedBytes).toBe(0);
  return failing.failed;
}

describe.each(Object.entries(TROUBLES))('whichever call to the transport throws: %s', (_, trouble) => {
  it.each<[NetDeviceOptions, boolean]>([
    [{ recovery: 'manual' }, false],
    [{ recovery: 'manual' }, true],
    [{ recovery: 'automatic' }, false],
    [{ recovery: 'automatic', interrupts: false }, true],
  ])('nothing hangs or is lost: %o, gone for good %s', async (options, forGood) => {
    const seen = new Set<string>();
    for (let n = 1; ; n += 1) {
      const failed = await liveWithFailure(n, trouble, options, forGood);
      if (failed === undefined) break;
      seen.add(failed);
    }
    expect([...seen]).toEqual(expect.arrayContaining(['allocate', 'enableQueue', 'notify', 'readConfig']));
  });
});
