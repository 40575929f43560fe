/** Several queue pairs: each with its own queues, buffers and counters. */
import { afterEach, describe, expect, it } from 'vitest';
import { NetDevice, type NetDeviceOptions, type PacketBuffer } from '../../src/index.js';
import type { SimulatedDevice, SimulatedDeviceOptions, SimulatedFeature } from '../../src/sim/index.js';
import {
  createSimulatedDevice,
  eventually,
  expectNothingLeft,
  numberedFrame,
  openBench,
  overriding,
  startBench,
  withCode,
  type Bench,
} from './support.js';

const FEATURES: readonly SimulatedFeature[] = [
  'VIRTIO_F_VERSION_1',
  'VIRTIO_F_ACCESS_PLATFORM',
  'VIRTIO_F_RING_EVENT_IDX',
  'VIRTIO_NET_F_MAC',
  'VIRTIO_NET_F_STATUS',
  'VIRTIO_NET_F_CTRL_VQ',
  'VIRTIO_NET_F_MQ',
];
const PAIRS = 3;

let bench: Bench | undefined;
afterEach(async () => {
  await bench?.finish();
  bench = undefined;
});

async function start(
  options: NetDeviceOptions = {},
  simOptions: SimulatedDeviceOptions = {},
): Promise<Bench> {
  bench = await startBench(
    { features: FEATURES, maxQueuePairs: 4, ...simOptions },
    { queuePairs: PAIRS, ...options },
  );
  return bench;
}

/** A frame comes to the receive queue of a pair. */
function arrive(sim: SimulatedDevice, pair: number, frame: Uint8Array): void {
  const packet = new Uint8Array(12 + frame.length);
  packet[10] = 1;
  packet.set(frame, 12);
  expect(sim.injectRaw(packet, 2 * pair)).toBe(true);
}

function sentBy({ statistics }: SimulatedDevice): number[] {
  return Array.from({ length: PAIRS }, (_, pair) => statistics.queues[2 * pair + 1].frames);
}

async function turns(count = 5): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

describe('opening queue pairs', () => {
  it('takes no more than the device has', async () => {
    for (const [features, code, pairs] of [
      [FEATURES, 'QUEUE_PAIRS_TOO_FEW', 5],
      [FEATURES.slice(0, -1), 'QUEUE_PAIRS_TOO_FEW', 2],
    ] as const) {
      const sim = createSimulatedDevice({ host: null, features, maxQueuePairs: 4 });
      const opening = NetDevice.open(sim.transport, { queuePairs: pairs });
      await expect(opening).rejects.toThrow(withCode(code));
      expectNothingLeft(sim);
    }
  });

  it('says how many there are, and how many are used', async () => {
    const { device } = await start();
    expect(device.maxQueuePairs).toBe(4);
    expect(device.queuePairs).toBe(PAIRS);
    expect(device.queuePair(2).number).toBe(2);
    for (const number of [-1, 3, 0.5, NaN]) {
      expect(() => device.queuePair(number)).toThrow(withCode('OPTION_INVALID'));
    }
  });

  it('leaves a device with several pairs that asks for one as it is', async () => {
    const { sim, device } = await start({ queuePairs: 1 });
    const commands: unknown[] = [];
    sim.onCommand((command) => void commands.push(command));
    expect(device.queuePairs).toBe(1);
    await device.stop();
    await device.start();
    expect(commands).toEqual([]);
    expect(device.statistics().queuePairs).toHaveLength(1);
  });

  it('leaves nothing behind where memory is too short for all of them', async () => {
    for (const memoryLimit of [1 << 14, 1 << 20, 3 << 20]) {
      const sim = createSimulatedDevice({ host: null, features: FEATURES, memoryLimit });
      const opening = NetDevice.open(sim.transport, { queuePairs: PAIRS });
      await expect(opening).rejects.toThrow(withCode('MEMORY_EXHAUSTED'));
      expectNothingLeft(sim);
    }
  });
});

describe('frames', () => {
  it('are received from every pair: by bursts of the device, none being left out', async () => {
    const { sim, device } = await start();
    for (let n = 0; n < 5; n += 1) arrive(sim, 0, numberedFrame(n));
    arrive(sim, 2, numberedFrame(20));
    const batch: PacketBuffer[] = [];
    const seen: number[] = [];
    for (let turn = 0; turn < 2; turn += 1) {
      // More come to the first pair all the while.
      arrive(sim, 0, numberedFrame(5 + turn));
      const count = device.receive(batch, 2);
      for (const packet of batch.slice(0, count)) {
        seen.push(packet.frame[17]);
        packet.release();
      }
    }
    expect(seen).toEqual([0, 1, 20]);
    while (device.receive(batch, 1) > 0) batch[0].release();
    expect(device.receive(batch)).toBe(0);
  });

  // Proves: net/setting-up-receive-buffers/5
  it('are received from a pair by its own bursts', async () => {
    const { sim, device } = await start();
    const batch: PacketBuffer[] = [];
    for (let pair = 0; pair < PAIRS; pair += 1) {
      arrive(sim, pair, numberedFrame(pair));
      expect(device.queuePair((pair + 1) % PAIRS).receive(batch)).toBe(0);
      expect(device.queuePair((pair + 2) % PAIRS).receive(batch)).toBe(0);
      expect(device.queuePair(pair).receive(batch)).toBe(1);
      expect(batch[0].frame).toEqual(numberedFrame(pair));
      batch[0].release();
    }
  });

  it.each([1, PAIRS])('of a batch with a gap are sent up to that: %i pairs', async (queuePairs) => {
    const { sim, device } = await start({ queuePairs });
    const batch: PacketBuffer[] = [];
    device.allocateBatch(batch, 3);
    for (const packet of batch) packet.setFrame(numberedFrame(1));
    const last = batch[2];
    // As from JavaScript, where nothing says that there is no packet.
    Reflect.deleteProperty(batch, 2);
    expect(device.transmit(batch, 3)).toBe(2);
    await device.flush();
    expect(sim.statistics.queues[1].frames).toBe(2);
    Reflect.deleteProperty(batch, 0);
    expect(() => device.transmit(batch, 3)).toThrow(withCode('OPTION_INVALID'));
    last.release();
  });

  it.each([true, false])('are received by listeners and iterations: interrupts %s', async (interrupts) => {
    const { sim, device } = await start({ interrupts });
    const frames = device.frames();
    const listened: number[] = [];
    device.on('frame', (packet) => listened.push(packet.frame[17]));
    for (let pair = 0; pair < PAIRS; pair += 1) arrive(sim, pair, numberedFrame(pair));
    const iterated: (number | undefined)[] = [];
    for (let n = 0; n < PAIRS; n += 1) {
      if (!interrupts) device.poll();
      iterated.push((await frames.next()).value?.frame[17]);
    }
    expect(iterated.toSorted()).toEqual([0, 1, 2]);
    expect(listened.toSorted()).toEqual([0, 1, 2]);
    await frames.return();
  });

  it('leave by the pair whose buffers they are in', async () => {
    const { sim, device } = await start();
    const batch = [2, 0, 0, 1, 2].map((pair) =>
      device.queuePair(pair).allocate().setFrame(numberedFrame(pair)),
    );
    expect(device.transmit(batch)).toBe(5);
    expect(sentBy(sim)).toEqual([2, 1, 2]);
    await device.send(device.queuePair(1).allocate().setFrame(numberedFrame(1)));
    await device.send(numberedFrame(1));
    expect(sentBy(sim)).toEqual([3, 2, 2]);
    expect(device.queuePair(2).transmit([device.queuePair(2).allocate().setFrame(numberedFrame(3))])).toBe(1);
    await device.flush();
    expect(sentBy(sim)).toEqual([3, 2, 3]);
  });

  it('can be answered where they lie, whichever pair received them', async () => {
    const { sim, device } = await start();
    device.on('frame', (packet) => {
      expect(device.transmit([packet])).toBe(1);
    });
    for (let n = 0; n < 30; n += 1) arrive(sim, n % PAIRS, numberedFrame(n));
    await eventually(() => sim.statistics.transmittedFrames === 30);
    expect(sentBy(sim)).toEqual([10, 10, 10]);
  });

  it('that are not of a pair are refused by it, and end a burst of the device before them', async () => {
    const { device } = await start();
    const foreign = device.queuePair(1).allocate().setFrame(numberedFrame(1));
    expect(() => device.queuePair(0).transmit([foreign])).toThrow(withCode('PACKET_NOT_OWNED'));
    const short = device.queuePair(2).allocate();
    expect(() => device.transmit([short])).toThrow(withCode('FRAME_TOO_SHORT'));
    expect(device.transmit([foreign, short])).toBe(1);
    short.release();
    expect(() => device.transmit([], 1)).toThrow(withCode('OPTION_INVALID'));
    expect(device.transmit([])).toBe(0);
  });

  it('are counted by pair, and in all', async () => {
    const { sim, device } = await start();
    device.on('frame', () => undefined);
    await turns();
    arrive(sim, 0, numberedFrame(0));
    arrive(sim, 2, numberedFrame(1));
    arrive(sim, 2, numberedFrame(2, 100));
    await eventually(() => device.statistics().receive.frames === 3);
    const statistics = device.statistics();
    expect(statistics.queuePairs.map(({ receive }) => receive.frames)).toEqual([1, 0, 2]);
    expect(statistics.receive.bytes).toBe(220);
    expect(statistics.interrupts.receive).toBeGreaterThanOrEqual(2);
    expect(statistics.queuePairs[1].interrupts.receive).toBe(0);
    expect(statistics.pool.size).toBe(PAIRS * statistics.queuePairs[0].pool.size);
    expect(device.queuePair(2).statistics()).toEqual(statistics.queuePairs[2]);
  });
});

describe('setQueuePairs()', () => {
  // Proves: net/automatic-receive-steering-in-multiqueue-mode/4
  it('keeps from sending over pairs that are not used', async () => {
    const { sim, device } = await start({ queueSize: 4, poolSize: 16 });
    const last = device.queuePair(2);
    sim.holdTransmit(true);
    const packets = Array.from({ length: 6 }, (_, n) => last.allocate().setFrame(numberedFrame(n)));
    expect(last.transmit(packets)).toBe(4);
    const waiting = device.send(packets[4]);
    const setting = device.setQueuePairs(1);
    await expect(waiting).rejects.toThrow(withCode('QUEUE_PAIR_UNUSED'));
    expect(() => last.transmit([packets[5]])).toThrow(withCode('QUEUE_PAIR_UNUSED'));
    await expect(device.send(packets[5])).rejects.toThrow(withCode('QUEUE_PAIR_UNUSED'));
    await setting;
    expect(device.queuePairs).toBe(1);
    sim.holdTransmit(false);
    await device.flush();
    await device.setQueuePairs(PAIRS);
    expect(device.transmit(packets.slice(4))).toBe(2);
    await device.flush();
  });

  // Proves: net/automatic-receive-steering-in-multiqueue-mode/2
  it.each([0, 4, 1.5])('refuses %d of three that are open', async (count) => {
    const { device } = await start();
    await expect(device.setQueuePairs(count)).rejects.toThrow(withCode('OPTION_INVALID'));
    expect(device.queuePairs).toBe(PAIRS);
  });

  it('holds beyond a stop and a reset', async () => {
    const { sim, device } = await start();
    await device.setQueuePairs(2);
    for (const again of ['start', 'reset'] as const) {
      if (again === 'start') await device.stop();
      await device[again]();
      expect(device.queuePairs).toBe(2);
      expect(device.transmit([device.queuePair(1).allocate().setFrame(numberedFrame(1))])).toBe(1);
    }
    expect(sentBy(sim)).toEqual([0, 2, 0]);
    await device.stop();
    await device.setQueuePairs(3);
    await device.start();
    expect(device.transmit([device.queuePair(2).allocate().setFrame(numberedFrame(1))])).toBe(1);
  });

  it('changes nothing where the device refuses', async () => {
    const { sim, device } = await start();
    const unlisten = sim.onCommand(() => 'refuse');
    await expect(device.setQueuePairs(2)).rejects.toThrow(withCode('CONTROL_COMMAND_REFUSED'));
    unlisten();
    expect(device.queuePairs).toBe(PAIRS);
    expect(device.transmit([device.queuePair(2).allocate().setFrame(numberedFrame(1))])).toBe(1);
    await device.flush();
  });

  it('goes on with one pair where the device refuses more after a reset, and says so', async () => {
    const { sim, device } = await start();
    const unlisten = sim.onCommand(() => 'refuse');
    const { lostSettings } = await device.reset();
    unlisten();
    expect(lostSettings).toMatchObject([{ error: { code: 'CONTROL_COMMAND_REFUSED' } }]);
    expect(device.queuePairs).toBe(1);
    const packet = device.queuePair(2).allocate().setFrame(numberedFrame(1));
    expect(() => device.transmit([packet])).toThrow(withCode('QUEUE_PAIR_UNUSED'));
    packet.release();
    await device.send(numberedFrame(1));
    await device.setQueuePairs(PAIRS);
    expect(device.queuePairs).toBe(PAIRS);
  });

  it('keeps start() from a device that refuses what was asked for', async () => {
    const { sim, device, finish } = await openBench(
      { features: FEATURES, maxQueuePairs: 4 },
      { queuePairs: PAIRS },
    );
    const unlisten = sim.onCommand(() => 'refuse');
    await expect(device.start()).rejects.toThrow(withCode('CONTROL_COMMAND_REFUSED'));
    expect(device.state).toBe('stopped');
    unlisten();
    await device.start();
    expect(device.queuePairs).toBe(1);
    await finish();
  });
});

describe('a device with several pairs', () => {
  // Proves: net/automatic-receive-steering-in-multiqueue-mode/1
  it('is told of all queues before it is told to use them', async () => {
    const sim = createSimulatedDevice({ host: null, features: FEATURES });
    const { transport } = sim;
    const events: string[] = [];
    sim.onCommand(({ name }) => void events.push(String(name)));
    const device = await NetDevice.open(
      overriding(transport, {
        enableQueue: (queue, layout) => {
          events.push(`queue ${queue}`);
          transport.enableQueue(queue, layout);
        },
      }),
      { queuePairs: PAIRS },
    );
    await device.start();
    const queues = [0, 1, 2, 3, 4, 5, 8].map((queue) => `queue ${queue}`);
    expect(events).toEqual([...queues, 'VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET']);
    await device.close();
    expectNothingLeft(sim);
  });

  // Proves: net/automatic-receive-steering-in-multiqueue-mode/3
  it('recovers with all of them, and sends over none but the first until the device knows of more', async () => {
    const { sim, device } = await start({ recovery: 'automatic', queueSize: 4, poolSize: 16 });
    sim.holdTransmit(true);
    for (const pair of [0, 2, 2, 2, 2]) {
      device.transmit([device.queuePair(pair).allocate().setFrame(numberedFrame(pair))]);
    }
    const waiting = device.send(device.queuePair(2).allocate().setFrame(numberedFrame(9)));
    const events: string[] = [];
    sim.onCommand(({ name }) => void events.push(String(name)));
    sim.onTransmit((_, { queue }) => events.push(`frame by queue ${queue}`));
    const recovered = new Promise((resolve) => device.once('recovered', resolve));
    sim.needsReset();
    expect(await recovered).toMatchObject({
      lost: [{ transmit: 1 }, { transmit: 0 }, { transmit: 4 }],
      lostSettings: [],
    });
    await waiting;
    expect(events).toEqual(['VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET', 'frame by queue 5']);
    sim.holdTransmit(false);
    for (let pair = 0; pair < PAIRS; pair += 1) {
      arrive(sim, pair, numberedFrame(pair));
      const batch: PacketBuffer[] = [];
      expect(device.queuePair(pair).receive(batch)).toBe(1);
      expect(device.transmit(batch)).toBe(1);
    }
  });

  it('shares what vectors there are', async () => {
    for (const vectors of [0, 1, 2, 3]) {
      const { sim, device, finish } = await startBench(
        { features: FEATURES, vectors },
        { queuePairs: PAIRS },
      );
      let seen = 0;
      device.on('frame', () => (seen += 1));
      for (let pair = 0; pair < PAIRS; pair += 1) arrive(sim, pair, numberedFrame(pair));
      await eventually(() => seen === PAIRS);
      await turns();
      await finish();
    }
  });
});
