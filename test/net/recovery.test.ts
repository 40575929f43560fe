/** A device that failed comes back: when the program asks for it, or by itself. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import {
  NetDevice,
  type NetDeviceOptions,
  type PacketBuffer,
  type RecoveryReport,
  type Transport,
} from '../../src/index.js';
import { startBreakable } from './breakable.js';
import {
  createSimulatedDevice,
  eventually,
  expectNothingLeft,
  numberedFrame,
  openBench,
  overriding,
  refillAll,
  startBench,
  withCode,
  type Bench,
} from './support.js';

let bench: Bench | undefined;
afterEach(async () => {
  await bench?.finish();
  bench = undefined;
});

async function start(...parameters: Parameters<typeof startBench>): Promise<Bench> {
  bench = await startBench(...parameters);
  return bench;
}

/** What happens to a device, in order. */
function watch(device: NetDevice): { states: string[]; errors: Error[]; reports: RecoveryReport[] } {
  const seen = { states: [] as string[], errors: [] as Error[], reports: [] as RecoveryReport[] };
  device.on('state', (state) => seen.states.push(state));
  device.on('error', (error) => seen.errors.push(error));
  device.on('recovered', (report) => seen.reports.push(report));
  return seen;
}

/** Opens and starts a device whose resets take until they are let go. */
async function startSlow(
  options: NetDeviceOptions,
  overrides: (transport: Transport) => Partial<Transport> = () => ({}),
): Promise<Bench & { holdReset: (hold: boolean) => void }> {
  const sim = createSimulatedDevice({ host: null, isolation: true });
  const { transport } = sim;
  let held = false;
  const slow = overriding(transport, {
    readStatus: () => (held ? transport.readStatus() | 1 : transport.readStatus()),
    ...overrides(transport),
  });
  const device = await NetDevice.open(slow, { recovery: 'automatic', ...options });
  await device.start();
  const finish = async (): Promise<void> => {
    await device[Symbol.asyncDispose]();
    expectNothingLeft(sim);
  };
  bench = { sim, device, finish };
  return { ...bench, holdReset: (hold) => (held = hold) };
}

/** Has the program poll now and then, as often as a device that is polled is asked how it is. */
async function untilRecovering(device: NetDevice): Promise<void> {
  while (device.state === 'running') {
    device.poll();
    await sleep(1);
  }
  expect(device.state).toBe('recovering');
}

/** Sends a frame and receives one. */
async function expectTraffic({ sim, device }: Pick<Bench, 'sim' | 'device'>): Promise<void> {
  const sent: Uint8Array[] = [];
  const unlisten = sim.onTransmit((frame) => sent.push(frame));
  await device.send(numberedFrame(41));
  unlisten();
  expect(sent).toEqual([numberedFrame(41)]);
  expect(sim.inject(numberedFrame(42))).toBe(true);
  const batch: PacketBuffer[] = [];
  expect(device.receive(batch)).toBe(1);
  expect(batch[0].frame).toEqual(numberedFrame(42));
  batch[0].release();
}

describe('reset()', () => {
  // Proves: core/device-status-field/4
  it('brings a failed device back', async () => {
    const { sim, device } = await start();
    const seen = watch(device);
    sim.needsReset();
    await eventually(() => device.state === 'failed');
    const report = await device.reset();
    expect(report).toEqual({
      reason: withCode('DEVICE_NEEDS_RESET'),
      automatic: false,
      queue: undefined,
      lost: [{ queuePair: 0, receive: 0, transmit: 0 }],
      lostSettings: [],
    });
    expect(seen.states).toEqual(['failed', 'recovering', 'running']);
    expect(seen.reports).toEqual([report]);
    expect(seen.errors).toHaveLength(1);
    await expectTraffic({ sim, device });
  });

  it('tells what a running device lost, and loses nothing that waits', async () => {
    const { sim, device } = await start({}, { queueSize: 4, poolSize: 16 });
    sim.holdTransmit(true);
    for (let n = 0; n < 4; n += 1) await device.send(numberedFrame(n));
    const sent: number[] = [];
    sim.onTransmit((frame) => sent.push(frame[17]));
    const waiting = [4, 5, 6].map((n) => device.send(numberedFrame(n)));
    const flushing = device.flush();
    const frames = device.frames();
    const iteration = frames.next();
    const resetting = device.reset();
    await expect(flushing).rejects.toThrow(withCode('DEVICE_WAS_RESET'));
    expect(await resetting).toMatchObject({
      reason: undefined,
      lost: [{ queuePair: 0, receive: 0, transmit: 4 }],
    });
    await Promise.all(waiting);
    expect(sent).toEqual([4, 5, 6]);
    sim.holdTransmit(false);
    await device.flush();
    sim.inject(numberedFrame(9));
    expect((await iteration).value?.frame).toEqual(numberedFrame(9));
    await frames.return();
    const { pool } = device.statistics();
    expect(pool.available).toBe(pool.size - 4);
  });

  it('counts frames that nobody took, and those that the device kept', async () => {
    const { sim, device } = await start({}, { queueSize: 8, poolSize: 32, interrupts: false });
    for (let n = 0; n < 3; n += 1) sim.inject(numberedFrame(n));
    sim.holdTransmit(true);
    for (let n = 0; n < 5; n += 1) await device.send(numberedFrame(n));
    const { lost } = await device.reset();
    expect(lost).toEqual([{ queuePair: 0, receive: 3, transmit: 5 }]);
    sim.holdTransmit(false);
    await expectTraffic({ sim, device });
  });

  it('refuses devices that are stopped or closed', async () => {
    const { device, finish } = await openBench();
    await expect(device.reset()).rejects.toThrow(withCode('DEVICE_NOT_STARTED'));
    await finish();
    await expect(device.reset()).rejects.toThrow(withCode('DEVICE_CLOSED'));
  });

  it('takes its turn among the others', async () => {
    const { sim, device } = await start();
    const seen = watch(device);
    const calls = [device.reset(), device.reset(), device.stop(), device.start(), device.reset()];
    await Promise.all(calls);
    expect(seen.reports).toHaveLength(3);
    await expectTraffic({ sim, device });
    const last = device.reset();
    const closing = device.close();
    await last;
    await closing;
    expect(device.state).toBe('closed');
  });

  it('fails with a device that does not offer what it did, and may be tried again', async () => {
    const sim = createSimulatedDevice({ host: null, isolation: true });
    const { transport } = sim;
    let poor = false;
    const device = await NetDevice.open(
      overriding(transport, {
        readDeviceFeatures: () => (poor ? 1n << 32n : transport.readDeviceFeatures()),
      }),
    );
    await device.start();
    const seen = watch(device);
    const iteration = device.frames().next();
    const rejected = expect(iteration).rejects.toThrow(withCode('DEVICE_FEATURE_MISSING'));
    poor = true;
    await expect(device.reset()).rejects.toThrow(withCode('DEVICE_FEATURE_MISSING'));
    await rejected;
    expect(device.state).toBe('failed');
    expect(seen.states).toEqual(['recovering', 'failed']);
    expect(seen.errors).toEqual([]);
    expect(() => device.receive([])).toThrow(withCode('DEVICE_FEATURE_MISSING'));
    poor = false;
    await device.reset();
    await expectTraffic({ sim, device });
    await device.close();
    expectNothingLeft(sim);
  });
});

describe('automatic recovery', () => {
  it.each([true, false])('brings a device back that asks for a reset: interrupts %s', async (interrupts) => {
    const { sim, device, holdReset } = await startSlow({ interrupts });
    const seen = watch(device);
    for (let round = 1; round <= 3; round += 1) {
      holdReset(true);
      sim.needsReset();
      await untilRecovering(device);
      expect(device.receive([])).toBe(0);
      expect(device.poll()).toBe(0);
      const packet = device.allocate().setFrame(numberedFrame(7));
      expect(device.transmit([packet])).toBe(0);
      packet.release();
      const sending = device.send(numberedFrame(round));
      const flushing = device.flush();
      holdReset(false);
      await sending;
      await flushing;
      expect(device.state).toBe('running');
      expect(seen.reports).toHaveLength(round);
      await expectTraffic({ sim, device });
    }
    expect(seen.reports[0]).toMatchObject({ automatic: true, reason: { code: 'DEVICE_NEEDS_RESET' } });
    expect(seen.errors).toEqual([]);
  });

  it('comes to an end with a device that fails each time', async () => {
    const { sim, device } = await start({}, { recovery: 'automatic' });
    const seen = watch(device);
    device.on('recovered', () => {
      sim.needsReset();
    });
    sim.needsReset();
    await eventually(() => device.state === 'failed');
    expect(seen.reports).toHaveLength(5);
    expect(seen.errors).toMatchObject([{ code: 'RECOVERY_GIVEN_UP', cause: { code: 'DEVICE_NEEDS_RESET' } }]);
    expect(() => device.receive([])).toThrow(withCode('RECOVERY_GIVEN_UP'));
    device.removeAllListeners('recovered');
    await device.reset();
    await expectTraffic({ sim, device });
  });

  it('tells of a device that does not come back', async () => {
    let stuck = false;
    const { sim, device, holdReset } = await startSlow({}, (transport) => ({
      enableInterrupts: (queues, handlers) => {
        if (stuck) throw new Error('stuck');
        transport.enableInterrupts(queues, handlers);
      },
    }));
    const seen = watch(device);
    const iteration = device.frames().next();
    stuck = true;
    holdReset(true);
    sim.needsReset();
    await eventually(() => device.state === 'recovering');
    const sending = device.send(numberedFrame(1));
    holdReset(false);
    const outcomes = await Promise.allSettled([iteration, sending]);
    expect(outcomes).toMatchObject([{ reason: { message: 'stuck' } }, { reason: { message: 'stuck' } }]);
    expect(seen.errors).toMatchObject([{ message: 'stuck' }]);
    expect(seen.states).toEqual(['recovering', 'failed']);
    stuck = false;
    await device.stop();
    await device.start();
    await expectTraffic({ sim, device });
  });

  it.each([0, 1])('brings a device back that broke queue %i', async (queue) => {
    const { sim, device, spoil, finish } = await startBreakable({ recovery: 'automatic' });
    const seen = watch(device);
    device.on('frame', () => undefined);
    spoil(queue);
    if (queue === 1) await device.send(numberedFrame(1));
    await eventually(() => seen.reports.length === 1);
    expect(seen.reports).toMatchObject([{ automatic: true, reason: { code: 'QUEUE_BROKEN' } }]);
    expect(seen.errors).toEqual([]);
    device.removeAllListeners('frame');
    await expectTraffic({ sim, device });
    await device.flush();
    refillAll(device);
    const { pool } = device.statistics();
    expect(pool.available).toBe(pool.size - 256);
    await finish();
  });

  it.each(['stop', 'close'] as const)('gives way to %s()', async (call) => {
    const { sim, device, holdReset } = await startSlow({});
    holdReset(true);
    sim.needsReset();
    await eventually(() => device.state === 'recovering');
    const ending = device[call]();
    holdReset(false);
    await ending;
    expect(device.state).toBe(call === 'stop' ? 'stopped' : 'closed');
  });

  it('does not begin on a device that is being stopped', async () => {
    const { sim, device } = await startSlow({});
    const seen = watch(device);
    sim.holdTransmit(true);
    await device.send(numberedFrame(1));
    const stopping = device.stop();
    await Promise.resolve();
    sim.needsReset();
    await stopping;
    expect(device.state).toBe('stopped');
    expect(seen.reports).toEqual([]);
    sim.holdTransmit(false);
  });
});
