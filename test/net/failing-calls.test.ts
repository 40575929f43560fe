/** Every call to the transport may throw: the device behind it can be gone at any moment. */
import { describe, expect, it } from 'vitest';
import { NetDevice, type DmaRegion, type PacketBuffer } from '../../src/index.js';
import type { SimulatedDevice } from '../../src/sim/index.js';
import { failAt } from './failing.js';
import { createSimulatedDevice, numberedFrame, overriding } from './support.js';

const POOL = 16;

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

/** Calls that may throw 'gone', or that the device is not started for that. */
const RIGHT_ERRORS = /^gone$|is (stopped|failed|stopping)/;

async function settle(call: Promise<unknown>): Promise<void> {
  const [result] = await Promise.allSettled([call]);
  if (result.status === 'rejected') expect((result.reason as Error).message).toMatch(RIGHT_ERRORS);
}

function attempt(call: () => void): void {
  try {
    call();
  } catch (error) {
    expect((error as Error).message).toMatch(RIGHT_ERRORS);
  }
}

/** Receives and sends in every way, with more sends than the ring has room for, and a change of the link. */
async function traffic(sim: SimulatedDevice, device: NetDevice): Promise<void> {
  for (let n = 0; n < 6; n += 1) sim.inject(numberedFrame(n));
  await settle(device.send(numberedFrame(1)));
  await turns(5);
  sim.holdTransmit(true);
  const sends = Array.from({ length: 8 }, (_, n) => settle(device.send(numberedFrame(n))));
  await turns(3);
  sim.setLink(false);
  await turns(3);
  sim.setLink(true);
  sim.holdTransmit(false);
  attempt(() => device.poll());
  await Promise.all(sends);
  burst(device);
  await settle(device.flush());
}

function burst(device: NetDevice): void {
  const packet = device.allocate().setFrame(numberedFrame(9));
  attempt(() => device.transmit([packet]));
  if (packet.owner === 1) packet.release();
  const batch: PacketBuffer[] = [];
  attempt(() => device.receive(batch));
  for (const received of batch) received.release();
}

async function live(sim: SimulatedDevice, device: NetDevice): Promise<void> {
  device.on('frame', () => undefined);
  await settle(device.start());
  await traffic(sim, device);
  await settle(device.stop());
  if (device.state === 'stopped') expect(device.statistics().pool.available).toBe(POOL);
  await Promise.allSettled([device.start()]);
  await device.close();
  expect(device.state).toBe('closed');
}

async function liveWithFailure(
  n: number,
  interrupts: boolean,
  forGood: boolean,
): Promise<string | undefined> {
  const sim = createSimulatedDevice({ host: null });
  const failing = failAt(sim, n, forGood);
  const options = { queueSize: 4, poolSize: POOL, interrupts, drainTimeout: 5, resetTimeout: 5 };
  const [opened] = await Promise.allSettled([NetDevice.open(failing.transport, options)]);
  if (opened.status === 'fulfilled') await live(sim, opened.value);
  else expect((opened.reason as Error).message).toBe('gone');
  expect(failing.closed).toBe(1);
  expect(sim.memory.allocatedBytes).toBe(0);
  return failing.failed;
}

describe('whichever call to the transport throws', () => {
  it.each([
    [true, false],
    [true, true],
    [false, false],
    [false, true],
  ])(
    'nothing hangs, is lost, or hides the reason: interrupts %s, gone for good %s',
    async (interrupts, forGood) => {
      const seen = new Set<string>();
      for (let n = 1; ; n += 1) {
        const failed = await liveWithFailure(n, interrupts, forGood);
        if (failed === undefined) break;
        seen.add(failed);
      }
      expect([...seen]).toEqual(expect.arrayContaining(['allocate', 'enableQueue', 'notify', 'readConfig']));
    },
  );

  it('a device whose interrupts can not be turned off is reset before its transport closes', async () => {
    const sim = createSimulatedDevice({ host: null });
    const { transport } = sim;
    let stuck = true;
    const device = await NetDevice.open(
      overriding(transport, {
        disableInterrupts: () => {
          transport.disableInterrupts();
          if (!stuck) return;
          stuck = false;
          throw new Error('stuck');
        },
      }),
    );
    await device.start();
    await device.close();
    expect(sim.violations).toEqual([]);
    expect(sim.memory.allocatedBytes).toBe(0);
  });

  it('memory that can not be freed keeps neither the rest of it nor the transport', async () => {
    const sim = createSimulatedDevice({ host: null });
    const { transport } = sim;
    let failures = 0;
    const allocate = (size: number): DmaRegion => {
      const region = transport.memory.allocate(size);
      const free = region.free.bind(region);
      region.free = () => {
        free();
        failures += 1;
        if (failures === 1) throw new Error('still mapped');
      };
      return region;
    };
    const memory = {
      behindIommu: true,
      addressing: 'iova' as const,
      setAddressing: () => undefined,
      allocatedBytes: 0,
      allocate,
    };
    const device = await NetDevice.open(overriding(transport, { memory }));
    await expect(device.close()).rejects.toThrow('still mapped');
    expect(device.state).toBe('closed');
    expect(sim.openCount).toBe(0);
    expect(sim.memory.allocatedBytes).toBe(0);
  });
});
