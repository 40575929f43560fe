import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createSimulatedDevice, type SimulatedDevice } from '../../src/sim/index.js';
import type { InterruptHandlers } from '../../src/transport/transport.js';
import {
  PLAIN,
  RX,
  Ring,
  TX,
  WITH_EVENT_IDX,
  bringUp,
  frameOf,
  negotiate,
  recorder,
  turn,
  type Running,
} from './support.js';

const FRAME = frameOf(60);
const open: SimulatedDevice[] = [];

function make(options: Parameters<typeof createSimulatedDevice>[0] = {}): SimulatedDevice {
  const device = createSimulatedDevice({ host: null, isolation: true, ...options });
  open.push(device);
  return device;
}

function start(features: bigint): { device: SimulatedDevice; calls: string[] } & Running {
  const device = make();
  const { calls, handlers } = recorder();
  return { device, calls, ...bringUp(device, { features, handlers }) };
}

afterEach(async () => {
  for (const device of open.splice(0)) {
    device.transport.writeStatus(0);
    await device.transport.close();
  }
});

describe('interrupts', () => {
  it('come on the event loop, several as one, each queue by itself', async () => {
    const { device, calls, rx, tx } = start(PLAIN);
    rx.post(0, 1);
    tx.send(0, FRAME);
    device.inject(FRAME);
    device.inject(FRAME);
    expect(calls).toEqual([]);
    await turn();
    expect(calls.toSorted()).toEqual(['queue 0', 'queue 1']);
    expect(device.statistics.interruptsSent).toBe(3);
    device.inject(FRAME);
    await turn();
    expect(calls).toHaveLength(2);
    expect(device.violations).toEqual([]);
  });

  it('do not come while the driver has set the flag', async () => {
    const { device, calls, tx } = start(PLAIN);
    tx.setFlags(1);
    tx.send(0, FRAME);
    await turn();
    expect(calls).toEqual([]);
    expect(device.statistics).toMatchObject({ interruptsSent: 0, interruptsSuppressed: 1 });
    tx.setFlags(0);
    tx.send(0, FRAME);
    await turn();
    expect(calls).toEqual(['queue 1']);
    expect(device.violations).toEqual([]);
  });

  it('come when the used index passes the event index, and only then', async () => {
    const { device, calls, tx } = start(WITH_EVENT_IDX);
    tx.setUsedEvent(2);
    tx.send(0, FRAME);
    tx.send(1, FRAME);
    await turn();
    expect(calls).toEqual([]);
    tx.send(2, FRAME);
    await turn();
    expect(calls).toEqual(['queue 1']);
    tx.send(3, FRAME);
    await turn();
    expect(calls).toEqual(['queue 1']);
    expect(device.statistics).toMatchObject({ interruptsSent: 1, interruptsSuppressed: 3 });
    expect(device.violations).toEqual([]);
  });

  it('follow the event index through every wrap, in bursts of any size', () => {
    // What 2.7.10 asks for, told one element at a time: the element whose index is the event index interrupts.
    const bursts = fc.array(fc.record({ count: fc.integer({ min: 1, max: 8 }), event: fc.nat(0xffff) }), {
      minLength: 1,
      maxLength: 30,
    });
    fc.assert(
      fc.property(bursts, fc.boolean(), (plan, near) => {
        const { device, tx } = start(WITH_EVENT_IDX);
        let used = 0;
        let wanted = 0;
        for (const { count, event } of plan) {
          // Half of the runs aim close by, or hardly any event would be met.
          const aim = near ? (used + (event % 12) - 2) & 0xffff : event;
          tx.setUsedEvent(aim);
          for (let index = 0; index < count; index++) tx.put(index, FRAME);
          tx.notify();
          if (Array.from({ length: count }, (_, step) => (used + step) & 0xffff).includes(aim)) wanted++;
          used = (used + count) & 0xffff;
          tx.collect();
        }
        expect(device.statistics.interruptsSent).toBe(wanted);
        expect(device.violations).toEqual([]);
      }),
    );
  });

  it('follow the event index across 65536', () => {
    const { device, tx } = start(WITH_EVENT_IDX);
    for (let count = 0; count < 65_530; count++) {
      tx.setUsedEvent(count - 1);
      tx.send(0, FRAME);
      tx.collect();
    }
    expect(device.statistics.interruptsSent).toBe(0);
    tx.setUsedEvent(3);
    for (let count = 0; count < 9; count++) tx.send(0, FRAME);
    expect(device.statistics.interruptsSent).toBe(0);
    tx.send(0, FRAME);
    expect(device.statistics.interruptsSent).toBe(1);
    expect(tx.usedIndex).toBe(4);
  });

  it('do not come after they were disabled, not even those on their way', async () => {
    const { calls, tx, transport } = start(PLAIN);
    tx.send(0, FRAME);
    transport.disableInterrupts();
    transport.disableInterrupts();
    const later = recorder();
    transport.enableInterrupts(2, later.handlers);
    await turn();
    expect(calls).toEqual([]);
    expect(later.calls).toEqual([]);
    tx.send(1, FRAME);
    await turn();
    expect(later.calls).toEqual(['queue 1']);
  });

  it('do not come for a queue that was enabled without them', async () => {
    const device = make();
    const { calls, handlers } = recorder();
    const { transport, tx } = bringUp(device);
    transport.enableInterrupts(2, handlers);
    tx.send(0, FRAME);
    await turn();
    expect(calls).toEqual([]);
    expect(device.statistics).toMatchObject({ interruptsSent: 0, interruptsSuppressed: 0 });
  });

  it('are no longer mapped after a reset', async () => {
    const { device, calls, transport } = start(PLAIN);
    transport.writeStatus(0);
    const { tx } = bringUp(device);
    device.setLink(false);
    await turn();
    expect(calls).toEqual([]);
    device.setLink(true);
    tx.send(0, FRAME);
    await turn();
    expect(calls).toEqual(['queue 1']);

    transport.writeStatus(0);
    transport.disableInterrupts();
    const again = bringUp(device);
    transport.enableInterrupts(2, recorder().handlers);
    again.tx.send(0, FRAME);
    expect(device.statistics.interruptsSent).toBe(1);
  });

  it('share vectors where there are few', async () => {
    const two = make({ vectors: 2 });
    const shared = recorder();
    bringUp(two, { handlers: shared.handlers }).tx.send(0, FRAME);
    await turn();
    expect(shared.calls).toEqual(['queue 0', 'queue 1']);
    two.setLink(false);
    await turn();
    expect(shared.calls.slice(2)).toEqual(['config']);

    const one = make({ vectors: 1 });
    const all = recorder();
    bringUp(one, { handlers: all.handlers }).tx.send(0, FRAME);
    await turn();
    expect(all.calls).toEqual(['config', 'queue 0', 'queue 1']);
  });

  it('stop in the middle of a shared one where a handler disables them', async () => {
    const device = make({ vectors: 1 });
    const { calls, handlers } = recorder();
    const config = (): void => {
      calls.push('config');
      device.transport.disableInterrupts();
    };
    bringUp(device, { handlers: { ...handlers, config } }).tx.send(0, FRAME);
    await turn();
    expect(calls).toEqual(['config']);
  });

  it('are refused by a device that can be polled only', () => {
    const device = make({ interrupts: false });
    expect(() => device.transport.enableInterrupts(2, recorder().handlers)).toThrow(
      expect.objectContaining({ code: 'DEVICE_VECTOR_REFUSED' }),
    );
  });

  it('are as late as they are asked to be', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout'] });
    try {
      const device = make({ interruptDelayMs: 50 });
      const { calls, handlers } = recorder();
      bringUp(device, { handlers }).tx.send(0, FRAME);
      await vi.advanceTimersByTimeAsync(49);
      expect(calls).toEqual([]);
      await vi.advanceTimersByTimeAsync(1);
      expect(calls).toEqual(['queue 1']);
    } finally {
      vi.useRealTimers();
    }
  });

  it('keep the process alive while they are waited for, unless told not to', async () => {
    const timers = (): number =>
      process.getActiveResourcesInfo().filter((resource) => resource === 'Timeout').length;
    const device = make();
    const { transport } = device;
    const handlers: InterruptHandlers = recorder().handlers;
    const before = timers();
    transport.enableInterrupts(2, handlers);
    expect(timers()).toBe(before + 1);
    transport.enableInterrupts(2, handlers);
    expect(timers()).toBe(before + 1);
    transport.setKeepAlive(false);
    expect(timers()).toBe(before);
    transport.setKeepAlive(true);
    expect(timers()).toBe(before + 1);
    transport.disableInterrupts();
    expect(timers()).toBe(before);
    transport.setKeepAlive(true);
    expect(timers()).toBe(before);
    transport.enableInterrupts(2, handlers);
    await transport.close();
    expect(timers()).toBe(before);
  });

  it('come where there is no setImmediate, as in a browser', async () => {
    const { calls, tx } = start(PLAIN);
    vi.stubGlobal('setImmediate', undefined);
    try {
      tx.send(0, FRAME);
    } finally {
      vi.unstubAllGlobals();
    }
    await vi.waitFor(() => expect(calls).toEqual(['queue 1']));
  });
});

describe('notifications', () => {
  it('are asked for after every transmit, by the event index', () => {
    const { device, tx } = start(WITH_EVENT_IDX);
    for (let count = 1; count <= 20; count++) {
      tx.send(0, FRAME);
      expect(tx.availEvent).toBe(count);
      expect(tx.usedFlags).toBe(0);
    }
    expect(device.statistics).toMatchObject({ notifications: 20, notificationsUnneeded: 0 });
    tx.notify();
    expect(device.statistics.notificationsUnneeded).toBe(1);
  });

  it('are not asked for while the device has receive buffers, by the flag', () => {
    const { device, rx } = start(PLAIN);
    rx.post(0, 1);
    expect(rx.usedFlags).toBe(0);
    rx.notify();
    expect(rx.usedFlags).toBe(1);
    rx.post(2);
    rx.notify();
    expect(device.statistics).toMatchObject({ notifications: 2, notificationsUnneeded: 1 });
    for (let count = 0; count < 2; count++) device.inject(FRAME);
    expect(rx.usedFlags).toBe(1);
    device.inject(FRAME);
    expect(rx.usedFlags).toBe(0);
    rx.post(0);
    rx.notify();
    expect(device.statistics).toMatchObject({ notifications: 3, notificationsUnneeded: 1 });
    expect(device.violations).toEqual([]);
  });

  it('are not asked for while the device has receive buffers, by the event index', () => {
    const { device, rx } = start(WITH_EVENT_IDX);
    rx.post(0, 1);
    rx.notify();
    expect(rx.availEvent).toBe(0);
    rx.post(2);
    rx.notify();
    expect(device.statistics).toMatchObject({ notifications: 2, notificationsUnneeded: 1 });
    for (let count = 0; count < 3; count++) device.inject(FRAME);
    expect(rx.availEvent).toBe(3);
    rx.post(0);
    rx.notify();
    expect(device.statistics).toMatchObject({ notifications: 3, notificationsUnneeded: 1 });
  });

  it('are not needed for the device to see a receive buffer', () => {
    const { device, rx } = start(PLAIN);
    rx.post(0);
    expect(device.inject(FRAME)).toBe(true);
    expect(device.statistics.notifications).toBe(0);
  });

  it('to a broken device are not a second violation', () => {
    const { device, tx } = start(PLAIN);
    tx.setAvailableIndex(100);
    tx.notify();
    tx.notify();
    expect(device.violations).toHaveLength(1);
  });
});

it('does not touch a ring before DRIVER_OK', () => {
  const device = make();
  negotiate(device.transport, WITH_EVENT_IDX);
  const rings = [RX, TX].map((queue) => new Ring(device.transport, queue, 8));
  for (const [queue, ring] of rings.entries()) device.transport.enableQueue(queue, ring.layout);
  rings[RX].post(0);
  device.inject(FRAME);
  for (const ring of rings) {
    const deviceArea = new Uint8Array(ring.rings.buffer, ring.usedOffset, 70);
    expect(deviceArea.every((byte) => byte === 0)).toBe(true);
  }
});
