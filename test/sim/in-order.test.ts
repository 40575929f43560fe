/** A device that returns buffers in order, by the batch where it used them wholly, and holds the driver to order. */
import { describe, expect, it } from 'vitest';
import { createSimulatedDevice, type SimulatedDevice } from '../../src/sim/index.js';
import { PACKED, bringUpPacked } from './packed-ring.js';
import { INDIRECT, NEXT, PLAIN, bits, bringUp, expectViolation, frameOf, writeEntry } from './support.js';

const IN_ORDER = bits('VIRTIO_F_IN_ORDER');
const OFFERED = PLAIN | PACKED | IN_ORDER | bits('VIRTIO_F_RING_INDIRECT_DESC');

function inOrderDevice(usedBatches?: boolean): SimulatedDevice {
  return createSimulatedDevice({
    features: OFFERED,
    isolation: true,
    host: null,
    ...(usedBatches === undefined ? {} : { usedBatches }),
  });
}

describe('in order, a split queue', () => {
  it('returns what was sent by one entry, where that of the first belongs, with the head of the last', () => {
    const device = inOrderDevice();
    const { tx } = bringUp(device, { features: PLAIN | IN_ORDER });
    const used = (at: number): number =>
      new DataView(tx.rings.buffer).getUint32(tx.usedOffset + 4 + 8 * at, true);
    for (const head of [0, 1, 2]) tx.put(head, frameOf(60));
    tx.notify();
    expect(tx.usedIndex).toBe(3);
    expect([used(0), used(1), used(2)]).toEqual([2, 0, 0]);
    for (const head of [3, 4]) tx.put(head, frameOf(60));
    tx.notify();
    expect([tx.usedIndex, used(3), used(4)]).toEqual([5, 4, 0]);
    expect(device.violations).toEqual([]);
  });

  it('returns each by an entry of its own where it is told to', () => {
    const device = inOrderDevice(false);
    const { tx } = bringUp(device, { features: PLAIN | IN_ORDER });
    for (const head of [0, 1, 2]) tx.put(head, frameOf(60));
    tx.notify();
    expect(tx.collect().map(({ id }) => id)).toEqual([0, 1, 2]);
  });

  it('skips no received frame, since none fills its buffer', () => {
    const device = inOrderDevice();
    const { rx } = bringUp(device, { features: PLAIN | IN_ORDER });
    rx.post(0, 1, 2);
    rx.notify();
    for (const seed of [1, 2, 3]) expect(device.inject(frameOf(60, seed))).toBe(true);
    expect(rx.receive().map(({ frame }) => frame)).toEqual([1, 2, 3].map((seed) => frameOf(60, seed)));
  });

  it('accepts descriptors in the order of the table alone', () => {
    const device = inOrderDevice();
    const { tx } = bringUp(device, { features: PLAIN | IN_ORDER });
    tx.put(0, frameOf(60));
    tx.put(2, frameOf(60));
    tx.notify();
    expectViolation(
      device,
      /^queue 1: descriptor 2 was made available where descriptor 1 comes next in order$/,
    );
  });

  it('accepts chains that go on with the next descriptor alone, over the end of the table too', () => {
    for (const [next, sound] of [
      [0, true],
      [1, false],
    ] as const) {
      const device = inOrderDevice();
      const { tx } = bringUp(device, { features: PLAIN | IN_ORDER });
      for (const head of [0, 1, 2, 3, 4, 5, 6]) tx.put(head, frameOf(60));
      tx.notify();
      const { address } = tx.fill(7, frameOf(60));
      tx.describe(7, { address, length: 12, flags: NEXT, next });
      tx.describe(next, { address: address + 12, length: 60 });
      tx.offer(7);
      tx.notify();
      if (sound) expect([device.violations, tx.usedIndex]).toEqual([[], 8]);
      else expectViolation(device, /^queue 1: descriptor 7 goes on with 1, but .* must with 0$/);
    }
  });

  it('accepts indirect tables in their order alone', () => {
    for (const order of [
      [0, 1, 2],
      [0, 2, 1],
    ]) {
      const device = inOrderDevice();
      const features = PLAIN | IN_ORDER | bits('VIRTIO_F_RING_INDIRECT_DESC');
      const { tx } = bringUp(device, { features });
      const { address } = tx.fill(0, frameOf(60));
      const view = new DataView(tx.buffers.buffer, 2048);
      for (const [part, index] of order.entries()) {
        const last = part === 2;
        const flags = last ? 0 : NEXT;
        writeEntry(view, index, {
          address: address + 24 * part,
          length: 24,
          flags,
          next: last ? 0 : order[part + 1],
        });
      }
      tx.describe(0, { address: tx.addressOfSlot(1), length: 48, flags: INDIRECT });
      tx.offer(0);
      tx.notify();
      if (order[1] === 1) expect(device.violations).toEqual([]);
      else
        expectViolation(device, /descriptor 0 of the indirect table .* goes on with 2, but .* must with 1$/);
    }
  });
});

describe('in order, a packed queue', () => {
  it('returns what was sent by one descriptor, where the first was, with the id of the last', () => {
    const device = inOrderDevice();
    const { tx } = bringUpPacked(device, { features: PACKED | IN_ORDER });
    const view = new DataView(tx.rings.buffer);
    const at = (position: number): number[] => [
      view.getUint16(16 * position + 12, true),
      view.getUint16(16 * position + 14, true) & 0x8080,
    ];
    for (const id of [5, 6, 7]) tx.put(id, frameOf(60));
    tx.notify();
    expect([at(0), at(1), at(2)]).toEqual([
      [7, 0x8080],
      [6, 0x80],
      [7, 0x80],
    ]);
    for (let id = 0; id < 6; id += 1) tx.put(id, frameOf(60));
    tx.notify();
    expect([at(3), at(4)]).toEqual([
      [5, 0x8080],
      [1, 0x80],
    ]);
    tx.put(6, frameOf(60));
    tx.notify();
    // The second lap, from its second descriptor on.
    expect(at(1)).toEqual([6, 0]);
    expect(device.violations).toEqual([]);
  });

  it('returns each by a descriptor of its own where it is told to', () => {
    const device = inOrderDevice(false);
    const { tx } = bringUpPacked(device, { features: PACKED | IN_ORDER });
    for (const id of [5, 6, 7]) tx.put(id, frameOf(60));
    tx.notify();
    expect(tx.collect().map(({ id }) => id)).toEqual([5, 6, 7]);
  });
});
