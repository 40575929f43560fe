/** The device checks what notifications carry with VIRTIO_F_NOTIFICATION_DATA (VIRTIO 1.3, 2.9). */
import { describe, expect, it } from 'vitest';
import { createSimulatedDevice, type SimulatedDevice } from '../../src/sim/index.js';
import { PACKED, bringUpPacked } from './packed-ring.js';
import { PLAIN, TX, bits, bringUp, expectViolation, frameOf } from './support.js';

const DATA = bits('VIRTIO_F_NOTIFICATION_DATA');

function makeDevice(): SimulatedDevice {
  return createSimulatedDevice({ features: PLAIN | PACKED | DATA, host: null });
}

describe('with positions in notifications', () => {
  it('a split queue takes the available index, over its wrap too', () => {
    const device = makeDevice();
    const { tx, transport } = bringUp(device, { features: PLAIN | DATA });
    for (let index = 1; index <= 65536 + 3; index += 1) {
      tx.put(index % 8, frameOf(60));
      transport.notify(TX, index & 0xffff);
    }
    expect(device.violations).toEqual([]);
    expect(device.statistics.transmittedFrames).toBe(65536 + 3);
  });

  it('a packed queue takes the offset and wrap counter behind what is available', () => {
    const device = makeDevice();
    const { tx, transport } = bringUpPacked(device, { features: PACKED | DATA });
    for (let count = 1; count <= 40; count += 1) {
      tx.put(count % 8, frameOf(60));
      const { position, wrap } = tx.next;
      transport.notify(TX, position | (wrap ? 1 << 15 : 0));
      tx.collect();
    }
    expect(device.violations).toEqual([]);
    expect(device.statistics.transmittedFrames).toBe(40);
  });

  it('a packed queue that is full expects the position in the next lap', () => {
    const device = makeDevice();
    const { rx, transport } = bringUpPacked(device, { features: PACKED | DATA });
    rx.post(0, 1, 2, 3, 4, 5, 6, 7);
    transport.notify(0, 0);
    expect(device.violations).toEqual([]);
  });

  it.each([
    [
      0,
      /carried next_off 0 with next_wrap 0, but the next available position is next_off 1 with next_wrap 0$/,
    ],
    [2, /carried next_off 2 with next_wrap 0/],
    [0x8001, /carried next_off 1 with next_wrap 1/],
    [undefined, /carried no position, but VIRTIO_F_NOTIFICATION_DATA was negotiated$/],
  ])('a split queue refuses %s where the index is 1', (data, sentence) => {
    const device = makeDevice();
    const { tx, transport } = bringUp(device, { features: PLAIN | DATA });
    tx.put(0, frameOf(60));
    transport.notify(TX, data);
    expectViolation(device, sentence);
    expect(device.statistics.transmittedFrames).toBe(0);
  });

  it.each([
    [
      1,
      /carried next_off 1 with next_wrap 0, but the next available position is next_off 1 with next_wrap 1$/,
    ],
    [0x8000, /carried next_off 0 with next_wrap 1/],
    [undefined, /carried no position/],
  ])('a packed queue refuses %s where the position is 1 in the first lap', (data, sentence) => {
    const device = makeDevice();
    const { tx, transport } = bringUpPacked(device, { features: PACKED | DATA });
    tx.put(0, frameOf(60));
    transport.notify(TX, data);
    expectViolation(device, sentence);
  });

  it('without the feature a notification must carry nothing', () => {
    const device = makeDevice();
    const { tx, transport } = bringUp(device);
    tx.put(0, frameOf(60));
    transport.notify(TX, 1);
    expectViolation(device, /a notification carried 1, but VIRTIO_F_NOTIFICATION_DATA was not negotiated$/);
  });
});
