import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { SimulatedDevice } from '../../src/sim/index.js';
import {
  DESC,
  DISABLE,
  ENABLE,
  PACKED,
  PACKED_EVENT_IDX,
  PackedRing,
  bringUpPacked,
  packedDevice,
} from './packed-ring.js';
import { RX, TX, frameOf, negotiate, recorder, turn, type Running } from './support.js';

const FRAME = frameOf(60);
const open: SimulatedDevice[] = [];

interface Started extends Running<PackedRing> {
  readonly device: SimulatedDevice;
  readonly calls: string[];
}

function start(features: bigint, size = 8, isolation = true): Started {
  const device = packedDevice({ isolation });
  open.push(device);
  const { calls, handlers } = recorder();
  return { device, calls, ...bringUpPacked(device, { features, size, handlers }) };
}

afterEach(async () => {
  for (const device of open.splice(0)) {
    device.transport.writeStatus(0);
    await device.transport.close();
  }
});

describe('interrupts of a packed queue', () => {
  it.each([PACKED, PACKED_EVENT_IDX])('come while enabled, and not while disabled (%#)', async (features) => {
    const { device, calls, rx, tx } = start(features);
    tx.send(0, FRAME);
    rx.post(0);
    device.inject(FRAME);
    expect(calls).toEqual([]);
    await turn();
    expect(calls.toSorted()).toEqual(['queue 0', 'queue 1']);
    tx.setEvents(DISABLE);
    tx.send(1, FRAME);
    await turn();
    expect(calls).toHaveLength(2);
    expect(device.statistics).toMatchObject({ interruptsSent: 2, interruptsSuppressed: 1 });
    tx.setEvents(ENABLE);
    tx.send(2, FRAME);
    await turn();
    expect(calls).toHaveLength(3);
    expect(device.violations).toEqual([]);
  });

  it('are not counted as sent where nobody gets them', async () => {
    const { device, calls, tx } = start(PACKED);
    device.transport.disableInterrupts();
    tx.send(0, FRAME);
    device.setLink(false);
    await turn();
    expect(calls).toEqual([]);
    expect(device.statistics).toMatchObject({ interruptsSent: 0, configInterrupts: 0 });
  });

  it('come when the descriptor that the driver names is used in its lap, and only then', async () => {
    const { device, calls, tx } = start(PACKED_EVENT_IDX, 3);
    tx.setEvents(DESC, 1, false);
    for (let id = 0; id < 4; id++) tx.send(id % 3, FRAME);
    await turn();
    expect(calls).toEqual([]);
    tx.send(1, FRAME);
    await turn();
    expect(calls).toEqual(['queue 1']);
    for (let id = 5; id < 10; id++) tx.send(id % 3, FRAME);
    await turn();
    expect(calls).toEqual(['queue 1']);
    expect(device.statistics).toMatchObject({ interruptsSent: 1, interruptsSuppressed: 9 });
    expect(device.violations).toEqual([]);
  });

  it('come for a descriptor within a list too', () => {
    const { device, tx } = start(PACKED_EVENT_IDX);
    const { address } = tx.fill(0, FRAME);
    const list = [12, 30, 30].map((length, index, all) => ({
      address: address + all.slice(0, index).reduce((sum, each) => sum + each, 0),
      length,
    }));
    for (const [position, sent] of [
      [3, 0],
      [5, 1],
      [6, 2],
      [1, 3],
    ]) {
      tx.setEvents(DESC, position, position > 1);
      tx.offer(7, ...list);
      tx.notify();
      expect(device.statistics.interruptsSent).toBe(sent);
      tx.collect();
    }
    expect(device.violations).toEqual([]);
  });

  it('follow the named descriptor through every wrap, in bursts of any size', () => {
    // What 2.8.10 asks for, told one descriptor at a time.
    const bursts = fc.array(
      fc.record({ count: fc.integer({ min: 1, max: 5 }), ahead: fc.nat(11), wrap: fc.boolean() }),
      { minLength: 1, maxLength: 30 },
    );
    fc.assert(
      fc.property(bursts, fc.integer({ min: 1, max: 5 }), (plan, size) => {
        const { device, tx } = start(PACKED_EVENT_IDX, size, false);
        let place = 0;
        let wanted = 0;
        for (const { count: most, ahead, wrap } of plan) {
          const count = Math.min(most, size);
          const position = (place + ahead) % size;
          tx.setEvents(DESC, position, wrap);
          const burst = Array.from({ length: count }, (_, step) => place + step);
          const lapIsFirst = (at: number): boolean => Math.floor(at / size) % 2 === 0;
          if (burst.some((at) => at % size === position && lapIsFirst(at) === wrap)) wanted++;
          for (const at of burst) tx.put(at % size, FRAME);
          tx.notify();
          expect(tx.collect()).toHaveLength(count);
          place += count;
        }
        expect(device.statistics.interruptsSent).toBe(wanted);
        expect(device.violations).toEqual([]);
      }),
    );
  });
});

describe('notifications of a packed queue', () => {
  it('are asked for after every transmit, for the next descriptor', () => {
    const { device, tx } = start(PACKED_EVENT_IDX, 3);
    for (let count = 1; count <= 20; count++) {
      tx.send(0, FRAME);
      expect(tx.deviceEvents).toEqual({ flags: DESC, ...tx.next });
      tx.collect();
    }
    expect(device.statistics).toMatchObject({ notifications: 20, notificationsUnneeded: 0 });
    tx.notify();
    expect(device.statistics.notificationsUnneeded).toBe(1);
    expect(device.violations).toEqual([]);
  });

  it('are asked for after every transmit, by the flag', () => {
    const { device, tx } = start(PACKED);
    for (let count = 1; count <= 20; count++) {
      tx.send(0, FRAME);
      expect(tx.deviceEvents.flags).toBe(ENABLE);
      tx.collect();
    }
    expect(device.statistics).toMatchObject({ notifications: 20, notificationsUnneeded: 0 });
    expect(device.violations).toEqual([]);
  });

  it.each([
    [PACKED, ENABLE],
    [PACKED_EVENT_IDX, DESC],
  ])('are not asked for while the device has receive buffers (%#)', (features, asking) => {
    const { device, rx } = start(features, 3);
    rx.post(0, 1);
    rx.notify();
    expect(rx.deviceEvents.flags).toBe(DISABLE);
    rx.post(2);
    rx.notify();
    expect(device.statistics).toMatchObject({ notifications: 2, notificationsUnneeded: 1 });
    for (let count = 0; count < 3; count++) {
      expect(rx.deviceEvents.flags).toBe(DISABLE);
      device.inject(FRAME);
    }
    expect(rx.deviceEvents.flags).toBe(asking);
    if (asking === DESC) expect(rx.deviceEvents).toMatchObject(rx.next);
    rx.collect();
    rx.post(0);
    rx.notify();
    expect(device.statistics).toMatchObject({ notifications: 3, notificationsUnneeded: 1 });
    expect(device.violations).toEqual([]);
  });

  it('are not needed for the device to see a receive buffer', () => {
    const { device, rx } = start(PACKED);
    rx.post(0);
    expect(device.inject(FRAME)).toBe(true);
    expect(device.statistics.notifications).toBe(0);
  });
});

it('does not touch a packed ring before DRIVER_OK', () => {
  const device = packedDevice();
  negotiate(device.transport, PACKED_EVENT_IDX);
  const rings = [RX, TX].map((queue) => new PackedRing(device.transport, queue, 8));
  for (const [queue, ring] of rings.entries()) device.transport.enableQueue(queue, ring.layout);
  rings[RX].post(0);
  const before = rings.map((ring) => new Uint8Array(ring.rings.buffer).slice());
  device.inject(FRAME);
  expect(rings.map((ring) => new Uint8Array(ring.rings.buffer))).toEqual(before);
});
