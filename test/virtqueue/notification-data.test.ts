/** What notifications carry with VIRTIO_F_NOTIFICATION_DATA: next_off and next_wrap (VIRTIO 1.3, 2.9). */
import { describe, expect, it } from 'vitest';
import { Notifier } from '../../src/net/notification.js';
import { InOrderPackedVirtqueue } from '../../src/virtqueue/packed-in-order.js';
import { PackedVirtqueue } from '../../src/virtqueue/packed-virtqueue.js';
import { InOrderSplitVirtqueue } from '../../src/virtqueue/split-in-order.js';
import { SplitVirtqueue } from '../../src/virtqueue/split-virtqueue.js';
import type { Virtqueue } from '../../src/virtqueue/virtqueue.js';
import type { Transport } from '../../src/transport/transport.js';
import { createSimulatedDevice } from '../../src/sim/index.js';
import { PlainMemory } from '../support/plain-memory.js';
import type { RingDevice } from './device.js';
import { PackedDevice } from './packed-device.js';
import { SplitDevice } from './split-device.js';

const SIZE = 4;
const OPTIONS = { index: 5, size: SIZE, eventIndex: false, notificationData: true };

/** Sends one buffer there and back. */
function roundTrip(ring: Virtqueue, device: RingDevice): void {
  ring.addReadable(1, 0, 0, 60);
  ring.publish();
  device.return(device.take()?.id ?? -1, 0);
  expect(ring.take()).toBe(1);
}

describe.each([{ Ring: SplitVirtqueue }, { Ring: InOrderSplitVirtqueue }])('the $Ring.name', ({ Ring }) => {
  it('gives the available index, which is what it has published', () => {
    const memory = new PlainMemory();
    const ring = new Ring(memory, OPTIONS);
    const device = new SplitDevice(memory, ring.layout, false);
    for (let index = 0; index < 65536 + 10; index += 1) {
      if (ring.notificationData !== (index & 0xffff)) throw new Error(`${ring.notificationData} at ${index}`);
      roundTrip(ring, device);
    }
    ring.addReadable(1, 0, 0, 60);
    expect(ring.notificationData).toBe(10);
    ring.reset(() => undefined);
    expect(ring.notificationData).toBe(0);
  });
});

describe.each([{ Ring: PackedVirtqueue }, { Ring: InOrderPackedVirtqueue }])('the $Ring.name', ({ Ring }) => {
  // Proves: packed/the-virtqueue-descriptor-table/3
  it('gives the offset and the wrap counter of the next descriptor that is not available', () => {
    const memory = new PlainMemory();
    const ring = new Ring(memory, OPTIONS);
    const device = new PackedDevice(memory, ring.layout, false);
    for (let index = 0; index < 5 * SIZE; index += 1) {
      const wrap = Math.floor(index / SIZE) % 2 === 0 ? 1 << 15 : 0;
      expect(ring.notificationData).toBe((index % SIZE) | wrap);
      roundTrip(ring, device);
    }
    // What was added but not published is not available yet.
    ring.addReadable(1, 0, 0, 60);
    ring.addReadable(2, 0, 0, 60);
    expect(ring.notificationData).toBe(0);
    ring.publish();
    expect(ring.notificationData).toBe(2);
    for (let n = 0; n < 2; n += 1) {
      device.return(device.take()?.id ?? -1, 0);
      ring.take();
    }
    // Nor is the lap counted that it goes into.
    for (const token of [3, 4, 5]) ring.addReadable(token, 0, 0, 60);
    expect(ring.notificationData).toBe(2);
    ring.publish();
    expect(ring.notificationData).toBe(1 | (1 << 15));
    ring.reset(() => undefined);
    expect(ring.notificationData).toBe(1 << 15);
  });
});

it('a notification carries it where it was negotiated, and nothing otherwise', () => {
  for (const notificationData of [true, false]) {
    const ring = new SplitVirtqueue(new PlainMemory(), { ...OPTIONS, notificationData });
    const calls: (number | undefined)[][] = [];
    const transport: Transport = Object.create(createSimulatedDevice().transport, {
      notify: { value: (...args: (number | undefined)[]) => void calls.push(args) },
    }) as Transport;
    const notifier = new Notifier(ring, transport);
    ring.addReadable(1, 0, 0, 60);
    ring.addReadable(2, 0, 0, 60);
    ring.publish();
    notifier.notifyIfNeeded();
    expect(calls).toEqual([notificationData ? [5, 2] : [5]]);
  }
});
