import { afterEach, describe, expect, it } from 'vitest';
import type { NetDeviceOptions, PacketBuffer } from '../../src/index.js';
import type { SimulatedDeviceOptions } from '../../src/sim/index.js';
import { eventually, numberedFrame, startBench, withCode, type Bench } from './support.js';

let bench: Bench | undefined;
async function start(
  sim: SimulatedDeviceOptions = {},
  options: NetDeviceOptions = {},
): Promise<Bench & { sent: Uint8Array[] }> {
  bench = await startBench(sim, options);
  const sent: Uint8Array[] = [];
  bench.sim.onTransmit((frame) => sent.push(frame));
  return { ...bench, sent };
}
afterEach(async () => {
  await bench?.finish();
  bench = undefined;
});

function packets({ device }: Bench, count: number, length = 60): PacketBuffer[] {
  return Array.from({ length: count }, (_, n) => device.allocate().setFrame(numberedFrame(n, length)));
}

/** A value that nothing can be computed with. */
const failing = {
  valueOf(): never {
    throw new Error('computed with');
  },
};

describe('transmit()', () => {
  // Proves: net/packet-transmission/1
  it('sends a burst with one notification', async () => {
    const it = await start();
    const burst = packets(it, 32);
    expect(it.device.transmit(burst)).toBe(32);
    expect(it.sent).toEqual(Array.from({ length: 32 }, (_, n) => numberedFrame(n)));
    expect(it.sim.statistics.notifications).toBeLessThanOrEqual(2);
    const { transmit } = it.device.statistics();
    expect(transmit).toMatchObject({ frames: 32, bytes: 32 * 60, notifications: { sent: 1 } });
  });

  // Proves: net/packet-transmission/2, net/packet-transmission/3, net/packet-transmission/5,
  //   net/packet-transmission/6, net/packet-transmission/7, net/packet-transmission/8, net/packet-transmission/9,
  //   net/packet-transmission/10, net/packet-transmission/12, net/packet-transmission/13,
  //   net/packet-transmission/14, net/packet-transmission/15, net/packet-transmission/16,
  //   net/packet-transmission/21, net/packet-transmission/30, net/packet-transmission/31,
  //   net/packet-transmission/33, net/packet-transmission/34
  it('precedes each frame with a header that is all zero, whatever the buffer held', async () => {
    const it = await start();
    const frame = numberedFrame(1);
    for (const start of [12, 64, 101]) {
      const packet = it.device.allocate();
      packet.bytes.fill(0xff);
      packet.start = start;
      packet.setFrame(frame);
      it.sim.holdTransmit(true);
      expect(it.device.transmit([packet])).toBe(1);
      expect([...packet.bytes.subarray(start - 12, start)]).toEqual(new Array(12).fill(0));
      expect(packet.bytes.subarray(start, start + frame.length)).toEqual(frame);
      it.sim.holdTransmit(false);
    }
    await it.device.flush();
    expect(it.sent).toEqual([frame, frame, frame]);
  });

  it('clears what the device left in the header of a received packet', async () => {
    const it = await start();
    it.sim.inject(numberedFrame(3));
    const batch: PacketBuffer[] = [];
    expect(it.device.receive(batch)).toBe(1);
    expect(it.device.transmit(batch, 1)).toBe(1);
    expect(it.sent).toEqual([numberedFrame(3)]);
  });

  it('sends from any start, aligned or not', async () => {
    const it = await start();
    for (const start of [12, 13, 18, 63, 64, 65, 100]) {
      const packet = it.device.allocate();
      packet.start = start;
      packet.setFrame(numberedFrame(start, 80));
      expect(it.device.transmit([packet])).toBe(1);
    }
    expect(it.sent.map((frame) => frame[17])).toEqual([12, 13, 18, 63, 64, 65, 100]);
  });

  // Proves: split/message-framing/2, packed/scatter-gather-support/1
  it('takes what there is room for, one descriptor for each frame, and leaves the rest to the caller', async () => {
    const it = await start({}, { queueSize: 8, poolSize: 64 });
    it.sim.holdTransmit(true);
    const burst = packets(it, 12);
    expect(it.device.transmit(burst)).toBe(8);
    expect(it.device.transmit(burst.slice(8))).toBe(0);
    expect(it.device.statistics().transmit.ringFull).toBe(2);
    expect(burst[8].copy()).toEqual(numberedFrame(8));
    it.sim.holdTransmit(false);
    expect(it.device.transmit(burst.slice(8))).toBe(4);
    await it.device.flush();
    const { transmit, pool } = it.device.statistics();
    expect(transmit.completed).toBe(12);
    expect(pool.available).toBe(pool.size - 8);
  });

  // Proves: net/device-configuration-layout/8
  it('refuses what is no frame, and takes nothing', async () => {
    const it = await start({ mtu: 1000 });
    const refuse = (length: number, code: string, type = 0x88b5): void => {
      const frame = numberedFrame(1, Math.max(length, 14)).subarray(0, length);
      if (length >= 14) frame.set([type >> 8, type & 0xff], 12);
      const packet = it.device.allocate().setFrame(frame);
      expect(() => it.device.transmit([packet])).toThrow(withCode(code));
      packet.release();
    };
    for (const length of [0, 1, 13]) refuse(length, 'FRAME_TOO_SHORT');
    for (const length of [1015, 1018, 1400]) refuse(length, 'FRAME_TOO_LONG');
    refuse(1019, 'FRAME_TOO_LONG', 0x8100);
    const longest = it.device.allocate().setFrame(numberedFrame(1, 1014));
    expect(it.device.transmit([longest])).toBe(1);
    const tagged = it.device.allocate().setFrame(numberedFrame(1, 1018));
    tagged.frame.set([0x81, 0], 12);
    expect(it.device.transmit([tagged])).toBe(1);
    expect(it.sent.map((frame) => frame.length)).toEqual([1014, 1018]);
  });

  it('ends a burst before a frame that can not be sent, and names it when it comes first', async () => {
    const it = await start();
    const burst = packets(it, 3);
    burst[1].length = 5;
    expect(it.device.transmit(burst)).toBe(1);
    const rest = burst.slice(1);
    expect(() => it.device.transmit(rest)).toThrow(withCode('FRAME_TOO_SHORT'));
    for (const packet of rest) packet.release();
    expect(it.sent.length).toBe(1);
  });

  it.each(
    ['start', 'length', 'checksum', 'gso'].flatMap((field) =>
      [64n, Symbol('60'), NaN, '60', 60.5, 2 ** 31, -1, {}, undefined, failing].map((value) => ({
        field,
        value,
      })),
    ),
  )('ends a burst before a packet whose $field is $value, and loses none', async ({ field, value }) => {
    const it = await start({}, { queueSize: 8, poolSize: 12 });
    const burst = packets(it, 3);
    const [, bad] = burst;
    const before: unknown = Reflect.get(bad, field);
    Reflect.set(bad, field, value);
    // But for the one number that stands for a partial checksum, all others ask nothing.
    const taken = field === 'checksum' ? 3 : 1;
    expect(it.device.transmit(burst)).toBe(taken);
    expect(it.sent.length).toBe(taken);
    if (taken === 1) {
      expect(() => it.device.transmit([bad])).toThrow(
        expect.objectContaining({ code: expect.stringMatching(/^(FRAME_TOO_|OFFLOAD_INVALID)/) as string }),
      );
      Reflect.set(bad, field, before);
      expect(it.device.transmit([bad, burst[2]])).toBe(2);
    }
    expect(it.device.statistics()).toMatchObject({
      transmit: { frames: 3, bytes: 180, completed: 3 },
      pool: { available: 4 },
    });
  });

  it('tells of what the device has finished, though nobody has looked since', async () => {
    const it = await start({}, { queueSize: 8, poolSize: 12 });
    it.sim.holdTransmit(true);
    expect(it.device.transmit(packets(it, 2))).toBe(2);
    expect(it.device.statistics()).toMatchObject({ transmit: { completed: 0 }, pool: { available: 2 } });
    it.sim.holdTransmit(false);
    expect(it.device.statistics()).toMatchObject({ transmit: { completed: 2 }, pool: { available: 4 } });
  });

  it('refuses a packet that is not the caller’s', async () => {
    const it = await start();
    const notOwned = withCode('PACKET_NOT_OWNED');
    it.sim.holdTransmit(true);
    const [packet] = packets(it, 1);
    expect(it.device.transmit([packet, packet])).toBe(1);
    expect(() => it.device.transmit([packet])).toThrow(notOwned);
    expect(() => packet.release()).toThrow(notOwned);
    expect(() => packet.retain()).toThrow(notOwned);
    const [released] = packets(it, 1);
    released.release();
    expect(() => it.device.transmit([released])).toThrow(notOwned);
    const [shared] = packets(it, 1);
    shared.retain();
    expect(() => it.device.transmit([shared])).toThrow('retained');
    shared.release();
    expect(it.device.transmit([shared])).toBe(1);
    it.sim.holdTransmit(false);
  });

  it('refuses a packet of another device, and one without room for the header', async () => {
    const it = await start();
    const other = await startBench();
    const foreign = other.device.allocate().setFrame(numberedFrame(1));
    expect(() => it.device.transmit([foreign])).toThrow('another device');
    foreign.release();
    await other.finish();
    const [packet] = packets(it, 1);
    packet.start = 11;
    expect(() => it.device.transmit([packet])).toThrow('12 bytes in front');
    packet.start = packet.bytes.length - 10;
    expect(() => it.device.transmit([packet])).toThrow(withCode('FRAME_TOO_LONG'));
    packet.release();
    expect(() => it.device.transmit([], 1)).toThrow(withCode('OPTION_INVALID'));
  });

  it('gives as many buffers as there are', async () => {
    const it = await start({}, { queueSize: 8, poolSize: 20 });
    const batch: PacketBuffer[] = [];
    expect(it.device.allocateBatch(batch, 5)).toBe(5);
    expect(it.device.allocateBatch(batch, 100)).toBe(7);
    expect(() => it.device.allocate()).toThrow(withCode('POOL_EXHAUSTED'));
    for (const packet of batch) if (packet.owner === 1) packet.release();
  });
});

describe('bursts', () => {
  it.each([undefined, null, {}, 'text'] as unknown[])('have a list to go to: not %s', async (list) => {
    const it = await start({}, { queueSize: 8, poolSize: 12 });
    for (let n = 0; n < 3; n += 1) it.sim.inject(numberedFrame(n));
    const wrong = list as PacketBuffer[];
    expect(() => it.device.receive(wrong)).toThrow(withCode('OPTION_INVALID'));
    expect(() => it.device.allocateBatch(wrong, 2)).toThrow(withCode('OPTION_INVALID'));
    const batch: PacketBuffer[] = [];
    expect(it.device.receive(batch)).toBe(3);
    expect(it.device.allocateBatch(batch, 10)).toBe(4);
  });
});

describe('send()', () => {
  it('copies a frame and hands it over at once', async () => {
    const it = await start();
    const frame = numberedFrame(1);
    await it.device.send(frame);
    frame.fill(0);
    await it.device.send(it.device.allocate().setFrame(numberedFrame(2)));
    expect(it.sent).toEqual([numberedFrame(1), numberedFrame(2)]);
  });

  it.each([true, false])('waits for room, in order, with interrupts %s', async (interrupts) => {
    const it = await start({}, { interrupts, queueSize: 8, poolSize: 64 });
    it.sim.holdTransmit(true);
    const sends = Array.from({ length: 200 }, (_, n) => it.device.send(numberedFrame(n)));
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(it.sent.length).toBe(8);
    it.sim.holdTransmit(false);
    await Promise.all(sends);
    expect(it.sent).toEqual(Array.from({ length: 200 }, (_, n) => numberedFrame(n)));
    await it.device.flush();
    if (interrupts) expect(it.device.statistics().interrupts.transmit).toBeGreaterThan(0);
    else expect(it.sim.statistics.interruptsSent).toBe(0);
    const { pool } = it.device.statistics();
    expect(pool.available).toBe(pool.size - 8);
  });

  it('waits for a buffer where all are on their way', async () => {
    const it = await start({}, { queueSize: 8, poolSize: 10 });
    it.sim.holdTransmit(true);
    const sends = Array.from({ length: 30 }, (_, n) => it.device.send(numberedFrame(n)));
    it.sim.holdTransmit(false);
    await Promise.all(sends);
    expect(it.sent.map((frame) => frame[17])).toEqual(Array.from({ length: 30 }, (_, n) => n));
  });

  it('gives the buffers back where a frame, in memory that grows, becomes longer while it is copied', async () => {
    const it = await start({}, { queueSize: 8, poolSize: 12 });
    for (let looks = 0; looks < 12; looks += 1) {
      let looked = 0;
      const frame = numberedFrame(1);
      Object.defineProperty(frame, 'length', { get: () => ((looked += 1) > looks ? 5000 : 60) });
      // How often it is looked at is the driver's matter: in the end it was not found longer.
      const isSent = await it.device.send(frame).then(
        () => true,
        (error: unknown) => (expect(error).toMatchObject({ code: 'FRAME_TOO_LONG' }), false),
      );
      if (looks === 0) expect(isSent).toBe(false);
      if (looks === 11) expect(isSent).toBe(true);
      expect(it.device.statistics().pool.available).toBe(4);
    }
  });

  it('does not wait where the program holds all buffers', async () => {
    const it = await start({}, { queueSize: 8, poolSize: 10 });
    const held = packets(it, 2);
    await expect(it.device.send(numberedFrame(1))).rejects.toThrow(withCode('POOL_EXHAUSTED'));
    for (const packet of held) packet.release();
  });

  it('refuses what is no frame', async () => {
    const it = await start();
    await expect(it.device.send(new Uint8Array(13))).rejects.toThrow(withCode('FRAME_TOO_SHORT'));
    await expect(it.device.send(numberedFrame(1, 1515))).rejects.toThrow(withCode('FRAME_TOO_LONG'));
    const packet = it.device.allocate();
    await expect(it.device.send(packet)).rejects.toThrow(withCode('FRAME_TOO_SHORT'));
    packet.release();
    await expect(it.device.send(packet)).rejects.toThrow(withCode('PACKET_NOT_OWNED'));
  });

  it('can be aborted while it waits, and only then', async () => {
    const it = await start({}, { queueSize: 8, poolSize: 64 });
    it.sim.holdTransmit(true);
    for (let n = 0; n < 8; n += 1) await it.device.send(numberedFrame(n));
    const controller = new AbortController();
    const waiting = it.device.send(numberedFrame(8), { signal: controller.signal });
    const flushing = it.device.flush({ signal: controller.signal });
    const later = it.device.send(numberedFrame(9));
    controller.abort(new Error('too late'));
    await expect(waiting).rejects.toThrow('too late');
    await expect(flushing).rejects.toThrow('too late');
    await expect(it.device.send(numberedFrame(1), { signal: controller.signal })).rejects.toThrow('too late');
    it.sim.holdTransmit(false);
    await later;
    expect(it.sent.map((frame) => frame[17])).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 9]);
  });

  it('is rejected when the device is stopped, and the packet stays the caller’s', async () => {
    const it = await start({}, { queueSize: 8, poolSize: 64, drainTimeout: 0 });
    it.sim.holdTransmit(true);
    for (let n = 0; n < 8; n += 1) await it.device.send(numberedFrame(n));
    const packet = it.device.allocate().setFrame(numberedFrame(8));
    const waiting = it.device.send(packet);
    const flushing = it.device.flush();
    const [sendResult, flushResult] = await Promise.allSettled([waiting, flushing, it.device.stop()]);
    expect(sendResult).toMatchObject({ status: 'rejected', reason: { code: 'DEVICE_NOT_STARTED' } });
    expect(flushResult).toMatchObject({ status: 'rejected', reason: { code: 'DEVICE_NOT_STARTED' } });
    packet.release();
    const { pool } = it.device.statistics();
    expect(pool.available).toBe(pool.size);
  });
});

describe('flush() and stop()', () => {
  it('flush waits until the device is done with all frames', async () => {
    const it = await start();
    await it.device.flush();
    it.sim.holdTransmit(true);
    await it.device.send(numberedFrame(1));
    let flushed = false;
    const flushing = it.device.flush().then(() => (flushed = true));
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(flushed).toBe(false);
    it.sim.holdTransmit(false);
    await flushing;
    expect(it.device.statistics().transmit.completed).toBe(1);
  });

  it('stop waits for frames to leave', async () => {
    const it = await start();
    it.sim.holdTransmit(true);
    await it.device.send(numberedFrame(1));
    const stopping = it.device.stop();
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(it.device.state).toBe('stopping');
    it.sim.holdTransmit(false);
    await stopping;
    expect(it.device.statistics().transmit.completed).toBe(1);
  });

  it('no frame is lost between a send and a stop in a row', async () => {
    const it = await start();
    await Promise.all([it.device.send(numberedFrame(1)), it.device.stop()]);
    expect(it.sent).toEqual([numberedFrame(1)]);
    await eventually(() => it.device.state === 'stopped');
  });
});
