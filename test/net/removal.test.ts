/** A device is taken away while a program uses it. */
import { afterEach, describe, expect, it } from 'vitest';
import { NetDevice, type NetDeviceOptions, type PacketBuffer } from '../../src/index.js';
import {
  createSimulatedDevice,
  eventually,
  expectNothingLeft,
  numberedFrame,
  startBench,
  withCode,
  type Bench,
} from './support.js';

let bench: Bench | undefined;
afterEach(async () => {
  await bench?.finish();
  bench = undefined;
});

async function start(options: NetDeviceOptions = {}): Promise<Bench & { events: string[] }> {
  bench = await startBench({}, { queueSize: 4, poolSize: 16, ...options });
  return { ...bench, events: watch(bench.device) };
}

function watch(device: NetDevice): string[] {
  const events: string[] = [];
  device.on('state', (state) => events.push(state));
  device.on('error', () => events.push('error'));
  device.on('removed', () => events.push('removed'));
  device.on('recovered', () => events.push('recovered'));
  device.on('close', () => events.push('close'));
  return events;
}

describe.each(['requestRemoval', 'unplug'] as const)('a device that is taken away: %s', (how) => {
  it.each<NetDeviceOptions>([{}, { interrupts: false }, { recovery: 'automatic' }])(
    'is closed by itself, once: %o',
    async (options) => {
      const { sim, device, events } = await start(options);
      sim[how]();
      await eventually(() => device.state === 'closed');
      expect(events.filter((event) => event !== 'stopped')).toEqual([
        'failed',
        'removed',
        'stopping',
        ...(how === 'unplug' ? ['failed'] : []),
        'closed',
        'close',
      ]);
      expectNothingLeft(sim);
      await device.close();
      await device.close();
    },
  );

  it('ends what waits, and refuses what comes', async () => {
    const { sim, device } = await start();
    sim.holdTransmit(true);
    const waiting = Array.from({ length: 6 }, (_, n) => device.send(numberedFrame(n)));
    const flushing = device.flush();
    const frames = device.frames();
    const iteration = frames.next();
    const outcomes = Promise.allSettled([...waiting, flushing, iteration]);
    const kept = device.allocate();
    sim[how]();
    const rejected = (await outcomes).filter(({ status }) => status === 'rejected');
    expect(rejected).toHaveLength(4);
    for (const { reason } of rejected as PromiseRejectedResult[]) {
      expect(reason).toEqual(withCode('DEVICE_REMOVED'));
    }
    const batch: PacketBuffer[] = [];
    for (const closed of [false, true]) {
      if (closed) await eventually(() => device.state === 'closed');
      for (const call of [
        () => device.receive(batch),
        () => device.transmit([]),
        () => device.poll(),
        () => device.allocate(),
        () => device.frames(),
      ]) {
        expect(call).toThrow(withCode('DEVICE_REMOVED'));
      }
      for (const call of [
        () => device.send(numberedFrame(1)),
        () => device.flush(),
        () => device.start(),
        () => device.stop(),
        () => device.reset(),
      ]) {
        await expect(call()).rejects.toThrow(withCode('DEVICE_REMOVED'));
      }
    }
    kept.release();
    expect(await frames.next()).toMatchObject({ done: true });
  });

  it('is closed by itself where it is stopped', async () => {
    const { sim, device, events } = await start();
    await device.stop();
    sim[how]();
    await eventually(() => device.state === 'closed');
    expect(events.filter((event) => event === 'removed' || event === 'close')).toEqual(['removed', 'close']);
  });

  it.each(['start', 'stop', 'reset', 'close'] as const)('ends %s() that is under way', async (call) => {
    const { sim, device, events } = await start();
    if (call === 'start') await device.stop();
    const pending = device[call]();
    sim[how]();
    const [outcome] = await Promise.allSettled([pending]);
    if (outcome.status === 'rejected') expect(outcome.reason).toEqual(withCode('DEVICE_REMOVED'));
    await eventually(() => device.state === 'closed');
    expect(events.filter((event) => event === 'removed').length).toBe(call === 'close' ? 0 : 1);
    expect(events.at(-1)).toBe('close');
    expect(events).not.toContain('error');
  });

  it('does not disturb a program whose listeners throw', async () => {
    const sim = createSimulatedDevice({ host: null });
    const device = await NetDevice.open(sim.transport);
    const thrown: unknown[] = [];
    const catchOne = (error: unknown): void => void thrown.push(error);
    process.on('uncaughtException', catchOne);
    device.on('removed', () => {
      throw new Error('of the program');
    });
    await device.start();
    sim[how]();
    await eventually(() => device.state === 'closed' && thrown.length === 1);
    process.off('uncaughtException', catchOne);
    expectNothingLeft(sim);
  });
});

describe('a device that has gone and tells nobody', () => {
  it('is noticed by the first call that meets it', async () => {
    const { sim, device, events } = await start({ interrupts: false });
    device.once('removed', () => events.push('told'));
    sim.unplug();
    await expect(device.reset()).rejects.toThrow(withCode('DEVICE_REMOVED'));
    await eventually(() => device.state === 'closed');
    expect(events.filter((event) => event === 'removed')).toHaveLength(1);
  });

  it('can not be opened', async () => {
    const sim = createSimulatedDevice({ host: null });
    const { transport } = sim;
    sim.unplug();
    await expect(NetDevice.open(transport)).rejects.toThrow(withCode('DEVICE_REMOVED'));
    expectNothingLeft(sim);
  });
});
