import { afterEach, describe, expect, it } from 'vitest';
import type { NetDeviceOptions, PacketBuffer } from '../../src/index.js';
import type { SimulatedDeviceOptions } from '../../src/sim/index.js';
import { eventually, numberedFrame, startBench, withCode, type Bench } from './support.js';

let bench: Bench | undefined;
async function start(sim: SimulatedDeviceOptions = {}, options: NetDeviceOptions = {}): Promise<Bench> {
  bench = await startBench(sim, options);
  return bench;
}
afterEach(async () => {
  await bench?.finish();
  bench = undefined;
});

/** Releases packets, oldest first. */
function release(packets: PacketBuffer[]): void {
  for (const packet of packets.splice(0)) packet.release();
}

describe('receive()', () => {
  it.each([true, false])('takes what has come, with interrupts %s', async (interrupts) => {
    const { sim, device } = await start({}, { interrupts });
    const batch: PacketBuffer[] = [];
    expect(device.receive(batch)).toBe(0);
    for (let n = 0; n < 5; n += 1) expect(sim.inject(numberedFrame(n, 60 + n))).toBe(true);
    expect(device.receive(batch, 2)).toBe(2);
    expect(batch[1].copy()).toEqual(numberedFrame(1, 61));
    release(batch);
    expect(device.receive(batch)).toBe(3);
    expect(batch.map((packet) => packet.length)).toEqual([62, 63, 64]);
    expect(batch[2].frame).toEqual(numberedFrame(4, 64));
    release(batch);
    expect(device.statistics().receive).toMatchObject({ frames: 5, bytes: 60 + 61 + 62 + 63 + 64 });
  });

  it('refuses a batch that is no array before a frame is taken for it, as the other burst calls do', async () => {
    const { sim, device } = await start();
    for (let n = 0; n < 3; n += 1) sim.inject(numberedFrame(n));
    const free = device.statistics().pool.available;
    for (const wrong of [undefined, null, 'batch', {}, new Set()]) {
      const batch = wrong as PacketBuffer[];
      expect(() => device.receive(batch)).toThrow(withCode('OPTION_INVALID'));
      expect(() => device.allocateBatch(batch, 1)).toThrow(withCode('OPTION_INVALID'));
      expect(() => device.transmit(batch, 1)).toThrow(withCode('OPTION_INVALID'));
      expect(() => device.releaseBatch(batch, 1)).toThrow(withCode('OPTION_INVALID'));
    }
    expect(() => device.releaseBatch([], 1)).toThrow(
      'The batch holds 0 packets, not 1. Give the number of packets',
    );
    expect(device.statistics().pool.available).toBe(free);
    const batch: PacketBuffer[] = [];
    expect(device.receive(batch)).toBe(3);
    release(batch);
  });

  // Proves: net/setting-up-receive-buffers/2, net/device-configuration-layout/7
  it.each([1500, 9000, 68])('has room for the longest frame of an MTU of %i', async (mtu) => {
    const { sim, device } = await start({ mtu });
    const frame = numberedFrame(1, mtu + 14);
    expect(sim.inject(frame)).toBe(true);
    const batch: PacketBuffer[] = [];
    expect(device.receive(batch)).toBe(1);
    expect(batch[0].frame).toEqual(frame);
    expect(batch[0].bytes.length).toBeGreaterThanOrEqual(64 + 1514);
    release(batch);
  });

  it('keeps the ring full: 100,000 frames go through a ring of 4', async () => {
    const { sim, device } = await start({}, { queueSize: 4 });
    const batch: PacketBuffer[] = [];
    for (let n = 0; n < 100_000; n += 1) {
      if (!sim.inject(numberedFrame(n))) throw new Error(`frame ${n} was not taken`);
      if (device.receive(batch) !== 1) throw new Error(`frame ${n} was not received`);
      if (batch[0].bytes[batch[0].start + 17] !== (n & 0xff)) throw new Error(`frame ${n} is another one`);
      release(batch);
    }
    expect(sim.statistics.dropsNoBuffer).toBe(0);
  }, 60_000);

  it('lets the device drop frames, and goes on, when the program holds all buffers', async () => {
    const { sim, device } = await start({}, { queueSize: 4, poolSize: 8 });
    const held: PacketBuffer[] = [];
    const batch: PacketBuffer[] = [];
    for (let n = 0; n < 8; n += 1) {
      expect(sim.inject(numberedFrame(n))).toBe(true);
      device.receive(batch);
      held.push(batch[0]);
    }
    expect(sim.inject(numberedFrame(9))).toBe(false);
    expect(device.receive(batch)).toBe(0);
    expect(device.statistics().receive.refillShortfalls).toBeGreaterThan(0);
    expect(() => device.allocate()).toThrow(withCode('POOL_EXHAUSTED'));
    held.pop()?.release();
    // The buffer goes straight back to the device.
    expect(sim.inject(numberedFrame(10))).toBe(true);
    expect(device.receive(batch)).toBe(1);
    expect(batch[0].copy()).toEqual(numberedFrame(10));
    release(held);
    release(batch);
  });

  it('drops what is too short to be a frame', async () => {
    const { sim, device } = await start();
    expect(() => sim.inject(new Uint8Array(13))).toThrow(withCode('FRAME_TOO_SHORT'));
    expect(sim.inject(numberedFrame(1, 14))).toBe(true);
    const batch: PacketBuffer[] = [];
    expect(device.receive(batch)).toBe(1);
    release(batch);
  });
});

describe('frame events', () => {
  it('lend each frame, and take it back', async () => {
    const { sim, device } = await start();
    const seen: Uint8Array[] = [];
    device.on('frame', (packet) => seen.push(packet.copy()));
    for (let n = 0; n < 1000; n += 1) {
      sim.inject(numberedFrame(n));
      if (n % 100 === 99) await eventually(() => seen.length === n + 1);
    }
    expect(seen).toEqual(Array.from({ length: 1000 }, (_, n) => numberedFrame(n)));
    const { interrupts, pool } = device.statistics();
    expect(interrupts.receive).toBeGreaterThan(0);
    expect(interrupts.receive).toBeLessThan(1000);
    expect(pool.available).toBe(pool.size - 256);
  });

  it('start with what came before there was a listener', async () => {
    const { sim, device } = await start();
    for (let n = 0; n < 10; n += 1) sim.inject(numberedFrame(n));
    await new Promise((resolve) => setTimeout(resolve, 5));
    let seen = 0;
    device.on('frame', () => (seen += 1));
    await eventually(() => seen === 10);
    sim.inject(numberedFrame(11));
    await eventually(() => seen === 11);
  });

  it('let a listener keep a packet, transmit it, or release it early', async () => {
    const { sim, device } = await start();
    const sent: Uint8Array[] = [];
    sim.onTransmit((frame) => sent.push(frame));
    const kept: PacketBuffer[] = [];
    let count = 0;
    device.on('frame', (packet) => {
      count += 1;
      if (count === 1) kept.push(packet.retain());
      else if (count === 2) expect(device.transmit([packet])).toBe(1);
      else packet.release();
    });
    for (let n = 0; n < 3; n += 1) sim.inject(numberedFrame(n));
    await eventually(() => count === 3);
    expect(kept[0].frame).toEqual(numberedFrame(0));
    expect(sent).toEqual([numberedFrame(1)]);
    expect(device.transmit(kept)).toBe(1);
    await device.flush();
    expect(sent).toEqual([numberedFrame(1), numberedFrame(0)]);
    const { pool } = device.statistics();
    expect(pool.available).toBe(pool.size - 256);
  });

  it('give the event loop a turn when the budget is used up', async () => {
    const { sim, device } = await start({}, { budget: 10 });
    const turns: number[] = [];
    let turn = 0;
    let seen = 0;
    device.on('frame', () => {
      seen += 1;
      turns[turn] = (turns[turn] ?? 0) + 1;
    });
    for (let n = 0; n < 100; n += 1) sim.inject(numberedFrame(n));
    while (seen < 100) {
      turn += 1;
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(Math.max(...turns.filter((count) => count > 0))).toBe(10);
  });

  it('go on after a listener has thrown, and the error reaches the process', async () => {
    const { sim, device } = await start();
    const uncaught: unknown[] = [];
    const others = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', (error) => uncaught.push(error));
    let seen = 0;
    device.on('frame', () => {
      seen += 1;
      throw new Error(`listener ${seen}`);
    });
    for (let n = 0; n < 3; n += 1) sim.inject(numberedFrame(n));
    await eventually(() => uncaught.length === 3);
    process.removeAllListeners('uncaughtException');
    for (const listener of others) process.on('uncaughtException', listener);
    expect(uncaught.map((error) => (error as Error).message)).toEqual([
      'listener 1',
      'listener 2',
      'listener 3',
    ]);
    const { pool } = device.statistics();
    expect(pool.available).toBe(pool.size - 256);
  });

  it('end when a listener stops or closes the device', async () => {
    const { sim, device } = await start();
    let closed: Promise<void> | undefined;
    let seen = 0;
    device.on('frame', () => {
      seen += 1;
      closed ??= device.close();
    });
    for (let n = 0; n < 5; n += 1) sim.inject(numberedFrame(n));
    await eventually(() => closed !== undefined);
    await closed;
    // What had been taken from the ring with the first one is still handed on.
    expect(seen).toBe(5);
  });
});

describe('iteration over frames', () => {
  it('gives every frame in order, and takes each back at the next', async () => {
    const { sim, device } = await start();
    for (let n = 0; n < 100; n += 1) sim.inject(numberedFrame(n));
    let n = 0;
    for await (const packet of device) {
      expect(packet.frame).toEqual(numberedFrame(n));
      n += 1;
      if (n === 50) for (let more = 100; more < 150; more += 1) sim.inject(numberedFrame(more));
      if (n === 150) break;
    }
    const { pool } = device.statistics();
    expect(pool.available).toBe(pool.size - 256);
  });

  it('works without interrupts', async () => {
    const { sim, device } = await start({}, { interrupts: false });
    setTimeout(() => sim.inject(numberedFrame(7)), 5);
    const { value } = await device.frames().next();
    expect(value?.frame).toEqual(numberedFrame(7));
    expect(sim.statistics.interruptsSent).toBe(0);
  });

  it('drops what its queue can not hold, and counts it', async () => {
    const { sim, device } = await start();
    const frames = device.frames({ limit: 3 });
    for (let n = 0; n < 10; n += 1) sim.inject(numberedFrame(n));
    await eventually(() => frames.dropped === 7);
    expect(device.statistics().receive.drops.iteratorFull).toBe(7);
    for (let n = 0; n < 3; n += 1) expect((await frames.next()).value?.frame).toEqual(numberedFrame(n));
    const waiting = frames.next();
    sim.inject(numberedFrame(11));
    expect((await waiting).value?.frame).toEqual(numberedFrame(11));
    await frames.return();
    const { pool } = device.statistics();
    expect(pool.available).toBe(pool.size - 256);
  });

  it('gives a retained packet up only when it is released', async () => {
    const { sim, device } = await start();
    const frames = device.frames();
    for (let n = 0; n < 2; n += 1) sim.inject(numberedFrame(n));
    const first = (await frames.next()).value?.retain();
    await frames.next();
    expect(first?.frame).toEqual(numberedFrame(0));
    await frames.return();
    const before = device.statistics().pool.available;
    first?.release();
    expect(device.statistics().pool.available).toBe(before + 1);
    expect(() => first?.release()).toThrow(withCode('PACKET_NOT_OWNED'));
  });

  it('serves several iterations at once', async () => {
    const { sim, device } = await start();
    const iterations = [device.frames(), device.frames(), device.frames()];
    const results = iterations.map((frames) => frames.next());
    sim.inject(numberedFrame(1));
    for (const result of results) expect((await result).value?.frame).toEqual(numberedFrame(1));
    for (const frames of iterations) await frames.return();
    const { pool } = device.statistics();
    expect(pool.available).toBe(pool.size - 256);
  });

  it('ends with close, after what was queued', async () => {
    const { sim, device } = await start();
    const frames = device.frames();
    sim.inject(numberedFrame(1));
    expect((await frames.next()).done).toBe(false);
    const waiting = frames.next();
    await device.close();
    expect((await waiting).done).toBe(true);
    expect((await frames.next()).done).toBe(true);
  });

  it('goes on over stop and start', async () => {
    const { sim, device } = await start();
    const frames = device.frames();
    const waiting = frames.next();
    await device.stop();
    await device.start();
    sim.inject(numberedFrame(5));
    expect((await waiting).value?.frame).toEqual(numberedFrame(5));
  });

  it('ends with the reason of an aborted signal', async () => {
    const { sim, device } = await start();
    const controller = new AbortController();
    const frames = device.frames({ signal: controller.signal });
    const waiting = frames.next();
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    expect((await frames.next()).done).toBe(true);
    expect(() => device.frames({ signal: controller.signal })).toThrow('enough');
    const queued = device.frames({ signal: AbortSignal.timeout(1) });
    sim.inject(numberedFrame(1));
    await new Promise((resolve) => setTimeout(resolve, 20));
    await expect(queued.next()).rejects.toThrow('timeout');
    await eventually(() => {
      const { pool } = device.statistics();
      return pool.available === pool.size - 256;
    });
  });

  it('refuses a queue of no length', async () => {
    const { device } = await start();
    for (const limit of [0, -1, 1.5, NaN])
      expect(() => device.frames({ limit })).toThrow(withCode('OPTION_INVALID'));
  });
});

describe('poll()', () => {
  it('hands frames to listeners with no event loop turning', async () => {
    const { sim, device } = await start({}, { interrupts: false });
    let seen = 0;
    device.on('frame', (packet) => {
      seen += 1;
      // A call from within a listener does nothing.
      expect(device.poll()).toBe(0);
      if (seen <= 5) device.transmit([packet]);
    });
    for (let n = 0; n < 40; n += 1) sim.inject(numberedFrame(n));
    expect(device.poll()).toBe(32);
    expect(device.poll()).toBe(8);
    expect(device.poll()).toBe(0);
    expect(seen).toBe(40);
    expect(sim.statistics.transmittedFrames).toBe(5);
    expect(sim.statistics.interruptsSent).toBe(0);
  });

  it('leaves frames in the ring that nobody wants', async () => {
    const { sim, device } = await start({}, { interrupts: false });
    sim.inject(numberedFrame(1));
    expect(device.poll()).toBe(0);
    device.on('frame', () => undefined);
    expect(device.poll()).toBe(1);
  });
});

describe.each([true, false])('a listener for one frame, with interrupts %s', (interrupts) => {
  it('leaves the others to the next one, in order', async () => {
    const { sim, device } = await start({}, { interrupts });
    for (let n = 0; n < 5; n += 1) sim.inject(numberedFrame(n));
    const seen: Uint8Array[] = [];
    for (let n = 0; n < 3; n += 1) {
      device.once('frame', (packet) => seen.push(packet.copy()));
      if (!interrupts) expect(device.poll()).toBe(1);
      await eventually(() => seen.length === n + 1);
    }
    const batch: PacketBuffer[] = [];
    expect(device.receive(batch, 1)).toBe(1);
    sim.inject(numberedFrame(5));
    expect(device.receive(batch.slice(0, 0), 0)).toBe(0);
    seen.push(batch[0].copy());
    release(batch);
    expect(device.receive(batch)).toBe(2);
    seen.push(...batch.map((packet) => packet.copy()));
    release(batch);
    expect(seen).toEqual(Array.from({ length: 6 }, (_, n) => numberedFrame(n)));
    expect(device.statistics().receive.frames).toBe(6);
  });

  it('keeps the order of what is left over again and again', async () => {
    const { sim, device } = await start({}, { interrupts });
    const all = Array.from({ length: 50 }, (_, n) => numberedFrame(n));
    for (const frame of all) sim.inject(frame);
    const seen: Uint8Array[] = [];
    const listenOnce = (): unknown => device.once('frame', (packet) => seen.push(packet.copy()));
    listenOnce();
    if (!interrupts) device.poll();
    await eventually(() => seen.length === 1);
    // The interrupt path leaves more over than one poll takes.
    for (let n = 1; n < 50; n += 1) {
      listenOnce();
      expect(device.poll()).toBe(1);
    }
    expect(seen).toEqual(all);
  });

  it('gives a listener that calls receive() the frames that come next', async () => {
    const { sim, device } = await start({}, { interrupts });
    for (let n = 0; n < 6; n += 1) sim.inject(numberedFrame(n));
    const seen: number[] = [];
    device.on('frame', (packet) => {
      seen.push(packet.frame[17]);
      if (seen.length !== 2) return;
      const batch: PacketBuffer[] = [];
      sim.inject(numberedFrame(6));
      expect(device.receive(batch, 2)).toBe(2);
      seen.push(...batch.map(({ frame }) => frame[17]));
      release(batch);
    });
    if (!interrupts) while (seen.length < 7) device.poll();
    await eventually(() => seen.length === 7);
    expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6]);
    const { pool } = device.statistics();
    expect(pool.available).toBe(pool.size - 256);
  });

  it('loses no buffer when the device is stopped with some left over', async () => {
    const { sim, device } = await start({}, { interrupts });
    for (let n = 0; n < 5; n += 1) sim.inject(numberedFrame(n));
    let seen = false;
    device.once('frame', () => (seen = true));
    if (!interrupts) device.poll();
    await eventually(() => seen);
    await device.stop();
    const { pool } = device.statistics();
    expect(pool.available).toBe(pool.size);
  });
});
