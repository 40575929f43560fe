/** Queue pairs in worker threads, with the software device behind them. */
import { once } from 'node:events';
import { MessagePort, Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { attachQueuePair, NetDevice, type NetDeviceOptions, type SharedQueuePair } from '../../src/index.js';
import type { SimulatedDevice, SimulatedDeviceOptions, SimulatedFeature } from '../../src/sim/index.js';
import type { ShareableRegion, TransportSharing } from '../../src/transport/sharing.js';
import type { Way } from './fixtures/pair-worker.js';
import {
  createSimulatedDevice,
  numberedFrame,
  openBench,
  overriding,
  startBench,
  withCode,
  type Bench,
} from './support.js';

const BODY = new URL('./fixtures/pair-worker.ts', import.meta.url).href;
const START = `import('tsx/esm/api').then(({ register }) => { register(); return import('${BODY}'); })`;
const FEATURES: readonly SimulatedFeature[] = [
  'VIRTIO_F_VERSION_1',
  'VIRTIO_F_ACCESS_PLATFORM',
  'VIRTIO_F_RING_EVENT_IDX',
  'VIRTIO_NET_F_MAC',
  'VIRTIO_NET_F_STATUS',
  'VIRTIO_NET_F_CTRL_VQ',
  'VIRTIO_NET_F_MQ',
];

let bench: Bench | undefined;
let workers: PairWorker[] = [];
afterEach(async () => {
  await bench?.finish();
  bench = undefined;
  await Promise.all(workers.map((worker) => worker.terminate()));
  workers = [];
});

async function open(options: NetDeviceOptions = {}, sim: SimulatedDeviceOptions = {}): Promise<Bench> {
  bench = await openBench({ features: FEATURES, ...sim }, { queuePairs: 2, ...options });
  return bench;
}

/** A worker, and what it has told so far. */
class PairWorker extends Worker {
  readonly told: { event: string; value?: unknown }[] = [];
  private readonly running: Int32Array;

  constructor(pair: SharedQueuePair, way: Way) {
    const running = new Int32Array(new SharedArrayBuffer(4));
    super(START, {
      eval: true,
      execArgv: [],
      workerData: { pair, way, running },
      transferList: pair.transferList,
    });
    this.running = running;
    this.on('message', (message: { event: string; value?: unknown }) => this.told.push(message));
    this.on('error', () => undefined);
    workers.push(this);
  }

  /** Whether its pair runs, as it sees that at this very moment. */
  get isRunning(): boolean {
    return Atomics.load(this.running, 0) === 1;
  }

  /** Waits until it has told that, and forgets all before. */
  async hear(event: string, value?: unknown): Promise<void> {
    const isIt = (told: { event: string; value?: unknown }): boolean =>
      told.event === event && (value === undefined || told.value === value);
    while (!this.told.some(isIt)) await once(this, 'message');
    this.told.splice(0, this.told.findIndex(isIt) + 1);
  }
}

function arrive(sim: SimulatedDevice, pair: number, frame: Uint8Array): boolean {
  const packet = new Uint8Array(12 + frame.length);
  packet[10] = 1;
  packet.set(frame, 12);
  return sim.injectRaw(packet, 2 * pair);
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}

function isInterrupt(message: unknown): boolean {
  return (message as { kind?: string }).kind === 'interrupt';
}

/** Shares pair 1; that a worker has ended may be known a little later than its exit. */
async function shareWhenFree(device: NetDevice): Promise<SharedQueuePair> {
  for (;;) {
    try {
      return device.shareQueuePair(1);
    } catch (error) {
      expect(error).toEqual(withCode('QUEUE_PAIR_SHARED'));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
}

/** Has frames echoed by a pair, one burst after another; each has to come back, bytes inverted, in order. */
async function expectEchoes(sim: SimulatedDevice, pair: number, count = 100): Promise<void> {
  const seen: number[] = [];
  const forget = sim.onTransmit((frame) => {
    if ((frame[6] ^ 0xff) === pair) seen.push((frame[58] ^ 0xff) * 256 + (frame[59] ^ 0xff));
  });
  for (let sent = 0; sent < count;) {
    const frame = new Uint8Array(60);
    frame[6] = pair;
    frame[58] = sent >> 8;
    frame[59] = sent & 0xff;
    if (arrive(sim, pair, frame)) sent += 1;
    if (sent % 10 === 0) await until(() => seen.length === sent);
  }
  await until(() => seen.length === count);
  forget();
  expect(seen).toEqual(Array.from({ length: count }, (_, index) => index));
}

describe.each([
  { name: 'split rings', more: [] },
  { name: 'packed rings', more: ['VIRTIO_F_RING_PACKED', 'VIRTIO_F_NOTIFICATION_DATA'] },
  { name: 'rings in order', more: ['VIRTIO_F_IN_ORDER', 'VIRTIO_NET_F_MRG_RXBUF'] },
] as const)('$name in workers', ({ more }) => {
  it.each(['events', 'iterate', 'busy'] as const)('carry frames: %s', async (way) => {
    const { device, sim } = await open({}, { features: [...FEATURES, ...more] });
    const both = [0, 1].map((number) => new PairWorker(device.shareQueuePair(number), way));
    await Promise.all(both.map((worker) => worker.hear('attached')));
    await device.start();
    await Promise.all([expectEchoes(sim, 0), expectEchoes(sim, 1)]);
    expect(sim.violations).toEqual([]);
    // A frame is counted after its burst, which the other thread may see earlier.
    await until(() => device.statistics().transmit.frames === 200);
    const { queuePairs, receive, transmit } = device.statistics();
    expect(queuePairs.map((pair) => pair.transmit.frames)).toEqual([100, 100]);
    expect([receive.frames, transmit.frames]).toEqual([200, 200]);
    await device.close();
    await Promise.all(both.map((worker) => worker.hear(way === 'busy' ? 'left' : 'close')));
  });
});

describe('a device with a pair in a worker', () => {
  it.each(['events', 'busy'] as const)('stops and starts: %s', async (way) => {
    const { device, sim } = await open();
    const worker = new PairWorker(device.shareQueuePair(1), way);
    await device.start();
    await worker.hear('attached');
    for (let round = 0; round < 3; round += 1) {
      await expectEchoes(sim, 1, 20);
      await device.stop();
      await worker.hear('state', 'stopped');
      await device.start();
    }
    expect(device.statistics().queuePairs[1].transmit.frames).toBe(60);
  });

  it('serves the other pair itself', async () => {
    const { device, sim } = await open();
    const worker = new PairWorker(device.shareQueuePair(1), 'events');
    device.on('frame', (packet) => void device.send(packet.frame.map((byte) => byte ^ 0xff)));
    await device.start();
    await worker.hear('attached');
    await Promise.all([expectEchoes(sim, 0), expectEchoes(sim, 1)]);
    expect(() => device.queuePair(1).receive([])).toThrow(withCode('QUEUE_PAIR_SHARED'));
    expect(() => device.queuePair(1).allocate()).toThrow(withCode('QUEUE_PAIR_SHARED'));
  });

  it('is reset with it', async () => {
    const { device, sim } = await open();
    const worker = new PairWorker(device.shareQueuePair(1), 'busy');
    await device.start();
    await worker.hear('attached');
    await expectEchoes(sim, 1, 10);
    await device.reset();
    await expectEchoes(sim, 1, 10);
    await worker.hear('state', 'recovering');
    await worker.hear('state', 'running');
  });

  it('recovers by itself when the device breaks the protocol on that pair', async () => {
    const { device, sim } = await open({ recovery: 'automatic' });
    const worker = new PairWorker(device.shareQueuePair(1), 'iterate');
    await device.start();
    await worker.hear('attached');
    await expectEchoes(sim, 1, 10);
    const recovered = once(device, 'recovered');
    sim.needsReset();
    await recovered;
    await worker.hear('state', 'running');
    await expectEchoes(sim, 1, 10);
  });

  it('goes on when the worker has closed the pair, and takes it back at the next start', async () => {
    const { device, sim } = await open();
    const worker = new PairWorker(device.shareQueuePair(1), 'close');
    device.on('frame', (packet) => void device.queuePair(packet.frame[6]).transmit([packet.retain()]));
    await device.start();
    await worker.hear('attached');
    await until(() => arrive(sim, 1, numberedFrame(1)));
    await worker.hear('close');
    await worker.hear('closed', 'DEVICE_CLOSED');
    expect(device.state).toBe('running');
    await device.stop();
    const again = new PairWorker(device.shareQueuePair(1), 'events');
    await device.start();
    await again.hear('attached');
    await expectEchoes(sim, 1, 10);
    await again.terminate();
    await device.stop();
    await device.start();
    expect(device.queuePair(1).receive([])).toBe(0);
    expect(device.statistics().queuePairs[1].transmit.frames).toBe(10);
  });

  it('shares it though it forgets its queues when it is reset', async () => {
    const sim = createSimulatedDevice({ features: FEATURES, host: null });
    const { transport } = sim;
    const forgetful = overriding(transport, {
      maxQueueSize: (queue) => (transport.readStatus() === 0 ? 0 : transport.maxQueueSize(queue)),
    });
    const device = await NetDevice.open(forgetful, { queuePairs: 2 });
    await device.start();
    await device.stop();
    const worker = new PairWorker(device.shareQueuePair(1), 'events');
    await device.start();
    await worker.hear('attached');
    await expectEchoes(sim, 1, 10);
    await device.close();
    expect(sim.violations).toEqual([]);
  });

  it.each(['crash', 'stuck'] as const)('outlives its worker: %s', async (way) => {
    const { device, sim } = await open({ drainTimeout: 50 });
    const worker = new PairWorker(device.shareQueuePair(1), way);
    await device.start();
    await worker.hear('attached');
    const exit = new Promise((resolve) => worker.once('exit', resolve));
    await until(() => arrive(sim, 1, numberedFrame(1)));
    if (way === 'stuck') await worker.hear('stuck');
    else await exit;
    await device.reset();
    expect(device.state).toBe('running');
    expect(device.queuePair(1).receive([])).toBe(0);
    await device.stop();
    const next = new PairWorker(device.shareQueuePair(1), 'events');
    await device.start();
    await next.hear('attached');
    await expectEchoes(sim, 1, 10);
  });

  it('outlives workers that are terminated at any moment', async () => {
    const { device, sim } = await open({ drainTimeout: 200 });
    for (let round = 0; round < 6; round += 1) {
      const worker = new PairWorker(await shareWhenFree(device), round % 2 === 0 ? 'busy' : 'events');
      await device.start();
      if (round > 0) await worker.hear('attached');
      for (let frame = 0; frame < 8 * round; frame += 1) arrive(sim, 1, numberedFrame(frame));
      await Promise.all([worker.terminate(), device.stop()]);
    }
    expect(sim.violations).toEqual([]);
  });

  it.each(['stop', 'reset', 'fail'] as const)('lets it come to rest before it is reset: %s', async (how) => {
    const sim = createSimulatedDevice({ features: FEATURES, host: null });
    const { transport } = sim;
    const restedAtReset: boolean[] = [];
    const watched = overriding(transport, {
      writeStatus: (status) => {
        if (status === 0 && transport.readStatus() !== 0)
          restedAtReset.push(workers.at(-1)?.isRunning === false);
        transport.writeStatus(status);
      },
    });
    const device = await NetDevice.open(watched, { queuePairs: 2, recovery: 'automatic' });
    const worker = new PairWorker(device.shareQueuePair(1), 'dozy');
    await device.start();
    await until(() => worker.isRunning);
    restedAtReset.length = 0;
    if (how === 'fail') {
      const recovered = once(device, 'recovered');
      sim.needsReset();
      await recovered;
    } else {
      await device[how]();
    }
    expect(restedAtReset).toEqual([true]);
    await device.close();
  });

  it('leaves the pair to a worker that is not waited for, as no frames are', async () => {
    const { device } = await open({ drainTimeout: 0 });
    const worker = new PairWorker(device.shareQueuePair(1), 'dozy');
    await device.start();
    await until(() => worker.isRunning);
    await device.reset();
    await device.stop();
    await device.start();
    expect(() => device.queuePair(1).receive([])).toThrow(withCode('QUEUE_PAIR_SHARED'));
    await until(() => worker.isRunning);
  });

  it('leaves the pair to a worker whose answer came while its own thread was busy', async () => {
    const { device } = await open({ drainTimeout: 10 });
    const worker = new PairWorker(device.shareQueuePair(1), 'dozy');
    await device.start();
    await until(() => worker.isRunning);
    const stopped = device.stop();
    await new Promise((resolve) => setImmediate(resolve));
    // Longer than the worker may take. After this turn timers are looked at before messages.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500);
    await stopped;
    await device.start();
    expect(() => device.queuePair(1).receive([])).toThrow(withCode('QUEUE_PAIR_SHARED'));
    await until(() => worker.isRunning);
  });

  it('piles no interrupts up for a worker that polls', async () => {
    const features = FEATURES.filter((name) => name !== 'VIRTIO_F_RING_EVENT_IDX');
    const { device, sim } = await open({}, { features });
    const worker = new PairWorker(device.shareQueuePair(1), 'poll');
    await device.start();
    await worker.hear('polls');
    const posted = vi.spyOn(MessagePort.prototype, 'postMessage');
    try {
      await expectEchoes(sim, 1, 200);
      const interrupts = posted.mock.calls.filter(([message]) => isInterrupt(message));
      // One for each queue, which the worker never gets to.
      expect(interrupts.length).toBeLessThanOrEqual(2);
    } finally {
      posted.mockRestore();
    }
  });

  it('passes on that the device uses fewer pairs', async () => {
    const { device } = await open();
    const worker = new PairWorker(device.shareQueuePair(1), 'idle');
    await device.start();
    await worker.hear('attached');
    await device.setQueuePairs(1);
    expect(device.queuePairs).toBe(1);
    await device.stop();
    await worker.hear('state', 'stopped');
  });

  it('closes while nobody has attached the pair', async () => {
    const { device } = await open();
    const shared = device.shareQueuePair(1);
    await device.start();
    expect(device.state).toBe('running');
    await device.close();
    const worker = new PairWorker(shared, 'idle');
    const [error] = (await once(worker, 'error')) as [Error];
    expect(error).toMatchObject({ code: 'DEVICE_CLOSED' });
  });
});

it('serves a pair again whose lent memory could not be given back', async () => {
  const sim = createSimulatedDevice({ features: FEATURES, host: null });
  const { transport } = sim;
  const { sharing } = transport;
  if (sharing === undefined) throw new Error('the software device can be shared');
  const failing: ShareableRegion[] = [];
  const refusing: TransportSharing = {
    ...sharing,
    allocate: (size, options) => {
      const region = sharing.allocate(size, options);
      vi.spyOn(region, 'free').mockImplementationOnce(() => {
        failing.push(region);
        throw new Error('the kernel does not unmap it');
      });
      return region;
    },
  };
  const device = await NetDevice.open(overriding(transport, { sharing: refusing }), { queuePairs: 2 });
  // Nobody is to have it after all.
  device.shareQueuePair(1).port.close();
  await new Promise((resolve) => setTimeout(resolve, 50));
  await expect(device.start()).rejects.toThrow('the kernel does not unmap it');
  expect(failing.length).toBeGreaterThan(0);
  await device.start();
  expect(device.queuePair(1).receive([])).toBe(0);
  device.on('frame', (packet) => void device.send(packet.frame.map((byte) => byte ^ 0xff)));
  await expectEchoes(sim, 1, 10);
  await device.close();
  expect(sim.violations).toEqual([]);
});

describe('sharing a pair is refused', () => {
  it('twice, while running, out of range, after close', async () => {
    const { device } = await open();
    device.shareQueuePair(1);
    expect(() => device.shareQueuePair(1)).toThrow(withCode('QUEUE_PAIR_SHARED'));
    expect(() => device.shareQueuePair(2)).toThrow(withCode('OPTION_INVALID'));
    await device.start();
    expect(() => device.shareQueuePair(0)).toThrow(withCode('DEVICE_ALREADY_STARTED'));
    await device.close();
    expect(() => device.shareQueuePair(0)).toThrow(withCode('DEVICE_CLOSED'));
  });

  it('by a transport that can not', async () => {
    const rig = await startBench({}, {});
    await rig.device.close();
    const device = await NetDevice.open(overriding(rig.sim.transport, { sharing: undefined }));
    expect(() => device.shareQueuePair(0)).toThrow(withCode('SHARING_UNSUPPORTED'));
    await device.close();
  });

  it('where the handle is no handle, is of this thread, is attached already, or came without its port', async () => {
    const { device } = await open();
    const shared = device.shareQueuePair(1);
    await expect(attachQueuePair({} as SharedQueuePair)).rejects.toThrow(withCode('OPTION_INVALID'));
    await expect(attachQueuePair(shared)).rejects.toThrow(withCode('OPTION_INVALID'));
    expect(() => new Worker(START, { eval: true, workerData: { pair: shared } })).toThrow(/transfer/);
    const worker = new PairWorker(shared, 'twice');
    await worker.hear('refused', 'QUEUE_PAIR_SHARED');
  });

  it('and so is the reset of one of its queues', async () => {
    const { device } = await open({}, { features: [...FEATURES, 'VIRTIO_F_RING_RESET'] });
    device.shareQueuePair(1);
    await device.start();
    await expect(device.resetQueue(1, 'receive')).rejects.toThrow(withCode('QUEUE_PAIR_SHARED'));
  });
});
