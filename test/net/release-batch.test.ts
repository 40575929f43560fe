/** allocateBatch() and releaseBatch(): what release() does with each packet of a batch, whatever is in it. */
import { afterEach, describe, expect, it } from 'vitest';
import type { PacketBuffer } from '../../src/index.js';
import { numberedFrame, startBench, withCode, type Bench } from './support.js';

const benches: Bench[] = [];
/** A device with six buffers beside those of its receive ring. */
async function start(): Promise<Bench> {
  const bench = await startBench({}, { queueSize: 8, poolSize: 14 });
  benches.push(bench);
  return bench;
}
afterEach(async () => {
  for (const bench of benches.splice(0)) await bench.finish();
});

function allocate({ device }: Bench, count: number): PacketBuffer[] {
  const batch: PacketBuffer[] = [];
  expect(device.allocateBatch(batch, count)).toBe(count);
  return batch;
}

const available = ({ device }: Bench): number => device.statistics().pool.available;

describe('releaseBatch()', () => {
  it('gives the first packets back, or all, each of which can be had again, once', async () => {
    const it = await start();
    const batch = allocate(it, 6);
    expect(it.device.allocateBatch([], 1)).toBe(0);
    it.device.releaseBatch(batch, 0);
    expect(available(it)).toBe(0);
    it.device.releaseBatch(batch, 2);
    expect(available(it)).toBe(2);
    it.device.releaseBatch(batch.slice(2));
    expect(new Set(allocate(it, 6))).toEqual(new Set(batch));
    it.device.releaseBatch(batch);
  });

  it('gives none back twice, and those before it once', async () => {
    const it = await start();
    const [one, two, three] = allocate(it, 3);
    expect(() => it.device.releaseBatch([one, two, one, three])).toThrow(withCode('PACKET_NOT_OWNED'));
    expect(available(it)).toBe(5);
    expect(() => it.device.releaseBatch([two])).toThrow(withCode('PACKET_NOT_OWNED'));
    three.setFrame(numberedFrame(1));
    it.sim.holdTransmit(true);
    expect(it.device.transmit([three])).toBe(1);
    expect(() => it.device.releaseBatch([three])).toThrow(withCode('PACKET_NOT_OWNED'));
    it.sim.holdTransmit(false);
    expect(available(it)).toBe(6);
    expect(new Set(allocate(it, 6)).size).toBe(6);
  });

  it('takes one reference of each that is retained', async () => {
    const it = await start();
    const batch = allocate(it, 3);
    batch[1].retain();
    it.device.releaseBatch(batch);
    expect(available(it)).toBe(5);
    it.device.releaseBatch(batch.slice(1, 2));
    expect(available(it)).toBe(6);
  });

  it('gives segments back with the packet that they belong to, and refuses them alone', async () => {
    const it = await start();
    const [head, segment, last, other] = allocate(it, 4);
    head.next = segment;
    segment.next = last;
    expect(() => it.device.releaseBatch([other, segment])).toThrow(withCode('PACKET_NOT_OWNED'));
    expect(available(it)).toBe(3);
    it.device.releaseBatch([head]);
    expect(available(it)).toBe(6);
    for (const packet of allocate(it, 6)) expect(packet.next).toBeUndefined();
  });

  it('gives packets of another device back to that', async () => {
    const it = await start();
    const other = await start();
    it.device.releaseBatch([...allocate(it, 1), ...allocate(other, 2), ...allocate(it, 1)]);
    expect([available(it), available(other)]).toEqual([6, 6]);
    expect(new Set([...allocate(it, 6), ...allocate(other, 6)]).size).toBe(12);
  });

  it('refuses gaps, after what comes before them, and counts that are none', async () => {
    const it = await start();
    for (const gap of [undefined, null, {}]) {
      const batch = [...allocate(it, 1), gap as PacketBuffer, ...allocate(it, 1)];
      expect(() => it.device.releaseBatch(batch)).toThrow(withCode('OPTION_INVALID'));
      expect(available(it)).toBe(5);
      it.device.releaseBatch(batch.slice(2));
    }
    for (const count of [-1, 0.5, NaN, 1, '0' as unknown as number]) {
      expect(() => it.device.releaseBatch([], count)).toThrow(withCode('OPTION_INVALID'));
      expect(() => it.device.allocateBatch([], count === 1 ? NaN : count)).toThrow(
        withCode('OPTION_INVALID'),
      );
    }
    expect(available(it)).toBe(6);
  });

  it('fills the receive ring up where that had run dry', async () => {
    const it = await start();
    const held = allocate(it, 6);
    const batch: PacketBuffer[] = [];
    for (let n = 0; n < 8; n += 1) expect(it.sim.inject(numberedFrame(n))).toBe(true);
    expect(it.device.receive(batch)).toBe(8);
    expect(it.device.receive(batch)).toBe(0);
    expect(it.sim.inject(numberedFrame(8))).toBe(false);
    it.device.releaseBatch(held, 1);
    expect(it.sim.inject(numberedFrame(9))).toBe(true);
    it.device.releaseBatch([...held.slice(1), ...batch.slice(0, 8)]);
    for (let n = 0; n < 7; n += 1) expect(it.sim.inject(numberedFrame(n))).toBe(true);
    expect(it.device.receive(batch)).toBe(8);
    it.device.releaseBatch(batch);
  });

  it('lets a send() that waits for a buffer go on', async () => {
    const it = await start();
    const held = allocate(it, 5);
    it.sim.holdTransmit(true);
    await it.device.send(numberedFrame(1));
    let isSent = false;
    const sending = it.device.send(numberedFrame(2)).then(() => (isSent = true));
    expect(isSent).toBe(false);
    it.device.releaseBatch(held);
    await sending;
    it.sim.holdTransmit(false);
  });

  it('does nothing after close()', async () => {
    const it = await start();
    const batch = allocate(it, 3);
    batch[1].retain();
    await it.device.close();
    it.device.releaseBatch(batch);
    it.device.releaseBatch(batch);
    expect(() => it.device.allocateBatch([], 1)).toThrow(withCode('DEVICE_CLOSED'));
  });
});
