/** What could wait for ever, or lose what it has, when several ways in are used at once. */
import { afterEach, describe, expect, it } from 'vitest';
import type { NetDeviceOptions, PacketBuffer } from '../../src/index.js';
import { eventually, numberedFrame, openBench, startBench, withCode, type Bench } from './support.js';

let bench: Bench | undefined;
async function start(options: NetDeviceOptions = {}): Promise<Bench & { sent: number[] }> {
  bench = await startBench({}, options);
  const sent: number[] = [];
  bench.sim.onTransmit((frame) => sent.push(frame[17]));
  return { ...bench, sent };
}
afterEach(async () => {
  await bench?.finish();
  bench = undefined;
});

const SMALL = { queueSize: 8, poolSize: 64 };

async function turns(count = 5): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Has the device keep a ring full of frames. */
async function fillRing({ sim, device }: Bench, count = SMALL.queueSize): Promise<void> {
  sim.holdTransmit(true);
  for (let n = 0; n < count; n += 1) await device.send(numberedFrame(n));
}

describe('reception', () => {
  it('begins without interrupts for an iteration that waited before the start', async () => {
    bench = await openBench({}, { interrupts: false });
    const { sim, device } = bench;
    const waiting = device.frames().next();
    for (let round = 0; round < 2; round += 1) {
      await device.start();
      if (round === 0) await device.stop();
    }
    sim.inject(numberedFrame(3));
    expect((await waiting).value?.frame).toEqual(numberedFrame(3));
  });

  it('goes on for a listener that comes after removeAllListeners()', async () => {
    const { sim, device } = await start();
    device.removeAllListeners();
    await turns();
    let seen = 0;
    device.on('frame', () => (seen += 1));
    sim.inject(numberedFrame(1));
    await eventually(() => seen === 1);
    device.removeAllListeners('frame');
    expect(device.listenerCount('frame')).toBe(0);
  });

  it('does not run dry while sent buffers are waiting to be reclaimed', async () => {
    const { sim, device } = await start({ queueSize: 8, poolSize: 9 });
    const kept: PacketBuffer[] = [];
    let seen = 0;
    device.on('frame', (packet) => {
      seen += 1;
      if (seen <= 8) device.transmit([packet]);
      else kept.push(packet.retain());
    });
    sim.holdTransmit(true);
    for (let n = 0; n < 9; n += 1) {
      await turns();
      sim.inject(numberedFrame(n));
    }
    await eventually(() => seen === 9);
    expect(sim.inject(numberedFrame(9))).toBe(false);
    sim.holdTransmit(false);
    await turns();
    expect(sim.inject(numberedFrame(9))).toBe(true);
    await eventually(() => seen === 10);
    for (const packet of kept) packet.release();
  });

  it('keeps the order of frames when a listener polls', async () => {
    const { sim, device } = await start();
    const order: number[] = [];
    device.on('frame', (packet) => {
      order.push(packet.frame[17]);
      if (order.length === 1) sim.inject(numberedFrame(3));
      expect(device.poll()).toBe(0);
    });
    sim.inject(numberedFrame(1));
    sim.inject(numberedFrame(2));
    await eventually(() => order.length === 3);
    expect(order).toEqual([1, 2, 3]);
  });

  it('takes back all packets of an iteration that waited for several at once', async () => {
    const { sim, device } = await start(SMALL);
    const frames = device.frames();
    const both = [frames.next(), frames.next()];
    for (let n = 0; n < 2; n += 1) sim.inject(numberedFrame(n));
    for (const [n, result] of (await Promise.all(both)).entries())
      expect(result.value?.frame).toEqual(numberedFrame(n));
    await frames.return();
    expect(device.statistics().pool.available).toBe(SMALL.poolSize - SMALL.queueSize);
  });

  it('does not give a packet away that another iteration still has, when it is released twice', async () => {
    const { sim, device } = await start(SMALL);
    const [one, other] = [device.frames(), device.frames()];
    const both = [one.next(), other.next()];
    sim.inject(numberedFrame(1));
    const [first, second] = await Promise.all(both);
    first.value?.release();
    await one.return();
    const taken: PacketBuffer[] = [];
    device.allocateBatch(taken, SMALL.poolSize);
    expect(taken).not.toContain(second.value);
    expect(second.value?.frame).toEqual(numberedFrame(1));
    await other.return();
    for (const packet of taken) packet.release();
    expect(device.statistics().pool.available).toBe(SMALL.poolSize - SMALL.queueSize);
  });

  it('ends with close(), and never with a packet that is empty', async () => {
    const { sim, device } = await start();
    const frames = device.frames();
    for (let n = 0; n < 3; n += 1) sim.inject(numberedFrame(n));
    expect((await frames.next()).done).toBe(false);
    await device.close();
    expect((await frames.next()).done).toBe(true);
  });

  it('does not begin on a device that has failed: frames() throws why', async () => {
    const { sim, device } = await start();
    sim.needsReset();
    await eventually(() => device.state === 'failed');
    expect(() => device.frames()).toThrow(withCode('DEVICE_NEEDS_RESET'));
  });
});

describe('send()', () => {
  it.each([true, false])(
    'keeps a lent packet as long as it has to wait, interrupts %s',
    async (interrupts) => {
      const it = await start({ ...SMALL, interrupts });
      const { sim, device, sent } = it;
      await fillRing(it);
      const sends: Promise<void>[] = [];
      device.on('frame', (packet) => sends.push(device.send(packet)));
      sim.inject(numberedFrame(77));
      if (!interrupts) device.poll();
      await eventually(() => sends.length === 1);
      const other = device.allocate().setFrame(numberedFrame(99));
      sim.holdTransmit(false);
      await Promise.all(sends);
      expect(sent).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 77]);
      other.release();
      await device.flush();
      expect(device.statistics().pool.available).toBe(SMALL.poolSize - SMALL.queueSize);
    },
  );

  it('gives a lent packet back to the pool if it is aborted', async () => {
    const it = await start(SMALL);
    const { sim, device } = it;
    await fillRing(it);
    const controller = new AbortController();
    const sends: Promise<void>[] = [];
    device.on('frame', (packet) => sends.push(device.send(packet, { signal: controller.signal })));
    sim.inject(numberedFrame(77));
    await eventually(() => sends.length === 1);
    controller.abort(new Error('enough'));
    await expect(sends[0]).rejects.toThrow('enough');
    sim.holdTransmit(false);
    await device.flush();
    expect(device.statistics().pool.available).toBe(SMALL.poolSize - SMALL.queueSize);
  });

  it('refuses at once a packet that could never be sent, even where it would have to wait', async () => {
    const it = await start(SMALL);
    await fillRing(it);
    const waiting = it.device.send(numberedFrame(8));
    const packet = it.device.allocate();
    await expect(it.device.send(packet)).rejects.toThrow(withCode('FRAME_TOO_SHORT'));
    packet.setFrame(numberedFrame(9));
    const first = it.device.send(packet);
    await expect(it.device.send(packet)).rejects.toThrow(withCode('PACKET_NOT_OWNED'));
    it.sim.holdTransmit(false);
    await Promise.all([waiting, first]);
    expect(it.sent.slice(8)).toEqual([8, 9]);
  });

  it('has the first claim to buffers that come back, before an empty receive ring', async () => {
    const { sim, device } = await start({ queueSize: 4, poolSize: 9 });
    sim.holdTransmit(true);
    for (let n = 0; n < 4; n += 1) await device.send(numberedFrame(n));
    const waiting = device.send(numberedFrame(4));
    const held = [device.allocate()];
    for (let n = 0; n < 4; n += 1) sim.inject(numberedFrame(n));
    sim.holdTransmit(false);
    const batch: PacketBuffer[] = [];
    expect(device.receive(batch)).toBe(4);
    await waiting;
    for (const packet of [...held, ...batch]) packet.release();
  });

  it.each([true, false])(
    'has that claim where the pool is dry and one buffer comes back, with interrupts: %s',
    async (interrupts) => {
      const { sim, device } = await start({ queueSize: 4, poolSize: 5, interrupts });
      sim.holdTransmit(true);
      await device.send(numberedFrame(1));
      sim.inject(numberedFrame(2));
      const batch: PacketBuffer[] = [];
      expect(device.receive(batch)).toBe(1);
      const waiting = device.send(numberedFrame(3));
      sim.holdTransmit(false);
      await waiting;
      batch[0].release();
    },
  );

  it.each([true, false])(
    'does not wait for more buffers than can come back, with interrupts: %s',
    async (interrupts) => {
      bench = await startBench(
        { features: ['VIRTIO_F_VERSION_1', 'VIRTIO_F_ACCESS_PLATFORM', 'VIRTIO_NET_F_MRG_RXBUF'] },
        { queueSize: 8, poolSize: 12, bufferSize: 256, interrupts },
      );
      const { sim, device } = bench;
      sim.holdTransmit(true);
      await device.send(numberedFrame(1));
      const outcomes = Promise.allSettled([
        device.send(numberedFrame(2, 1400)),
        device.send(numberedFrame(3)),
      ]);
      sim.holdTransmit(false);
      const [large, small] = await outcomes;
      expect(large).toMatchObject({ reason: withCode('POOL_EXHAUSTED') });
      expect(String((large as PromiseRejectedResult).reason)).toContain('4 of the 12');
      expect(small.status).toBe('fulfilled');
    },
  );

  it('waits many times for one signal without a warning', async () => {
    const it = await start(SMALL);
    const warnings: string[] = [];
    const onWarning = ({ message }: Error): void => void warnings.push(message);
    process.on('warning', onWarning);
    await fillRing(it);
    const controller = new AbortController();
    const { signal } = controller;
    const sends = Array.from({ length: 30 }, (_, n) => it.device.send(numberedFrame(n), { signal }));
    const results = Promise.allSettled(sends);
    controller.abort(new Error('enough'));
    for (const result of await results) expect(result).toMatchObject({ reason: { message: 'enough' } });
    await turns();
    process.off('warning', onWarning);
    expect(warnings).toEqual([]);
    it.sim.holdTransmit(false);
  });

  it('refuses what is neither bytes nor a packet', async () => {
    const { device } = await start();
    for (const frame of ['x'.repeat(60), new ArrayBuffer(60), new Uint16Array(60), null])
      await expect(device.send(frame as unknown as Uint8Array)).rejects.toThrow(withCode('OPTION_INVALID'));
    await device.send(Buffer.from(numberedFrame(1)));
  });

  it('in a loop lets the event loop turn', async () => {
    const { device } = await start();
    let turned = false;
    setImmediate(() => (turned = true));
    for (let n = 0; n < 200; n += 1) await device.send(numberedFrame(n));
    expect(turned).toBe(true);
  });
});

describe('numbers of packets', () => {
  it.each([-1, 1.5, NaN, -Infinity])('that can not be, such as %d, are refused', async (count) => {
    const { device } = await start();
    const invalid = withCode('OPTION_INVALID');
    expect(() => device.receive([], count)).toThrow(invalid);
    expect(() => device.transmit([], count)).toThrow(invalid);
    expect(() => device.allocateBatch([], count)).toThrow(invalid);
  });

  it('may be endless where they are a limit', async () => {
    const { sim, device } = await start(SMALL);
    for (let n = 0; n < 3; n += 1) sim.inject(numberedFrame(n));
    const batch: PacketBuffer[] = [];
    expect(device.receive(batch, Infinity)).toBe(3);
    for (const packet of batch) packet.release();
  });

  it('a start that is no whole number is refused: the header would not be written', async () => {
    const { device } = await start();
    const packet = device.allocate().setFrame(numberedFrame(1));
    packet.start += 0.5;
    expect(() => device.transmit([packet])).toThrow(withCode('FRAME_TOO_LONG'));
    packet.start -= 0.5;
    packet.length -= 0.5;
    expect(() => device.transmit([packet])).toThrow('59.5 bytes');
    packet.release();
  });
});
