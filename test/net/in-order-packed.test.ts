/**
 * The tests of the way of a packet once more, on packed rings of a device that returns buffers in order, those that it
 * used wholly by the batch, and is told ring positions (VIRTIO_F_IN_ORDER, VIRTIO_F_NOTIFICATION_DATA).
 */
import { expect, it } from 'vitest';
import './changes.test.js';
import './mixed-use.test.js';
import './receive.test.js';
import './sender.test.js';
import './stalls.test.js';
import './transmit.test.js';
import { openBench, rings } from './support.js';

rings.format = 'packed';
rings.inOrder = true;

// Proves: core/reserved-feature-bits/6
it('negotiates order, that of the platform too, and positions where the device offers them', async () => {
  const { device, finish } = await openBench();
  expect(device.features.has('VIRTIO_F_RING_PACKED')).toBe(true);
  expect(device.features.has('VIRTIO_F_IN_ORDER')).toBe(true);
  expect(device.features.has('VIRTIO_F_ORDER_PLATFORM')).toBe(true);
  expect(device.features.has('VIRTIO_F_NOTIFICATION_DATA')).toBe(true);
  await finish();
});
