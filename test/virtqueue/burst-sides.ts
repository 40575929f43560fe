/** The four kinds of rings, each with a device behind it, for scripts with bursts. */
import { InOrderPackedVirtqueue } from '../../src/virtqueue/packed-in-order.js';
import { PackedVirtqueue } from '../../src/virtqueue/packed-virtqueue.js';
import { InOrderSplitVirtqueue } from '../../src/virtqueue/split-in-order.js';
import { SplitVirtqueue } from '../../src/virtqueue/split-virtqueue.js';
import { PlainMemory } from '../support/plain-memory.js';
import type { BurstSetup, Sides } from './burst-world.js';
import { PackedDevice } from './packed-device.js';
import { SplitDevice } from './split-device.js';

export type MakeSides = (setup: BurstSetup) => Sides;

const splitOf =
  (Ring: typeof SplitVirtqueue | typeof InOrderSplitVirtqueue): MakeSides =>
  ({ size, indirectEntries }) => {
    const memory = new PlainMemory();
    const ring = new Ring(memory, { index: 0, size, eventIndex: true, indirectEntries });
    return {
      ring,
      attach: () => new SplitDevice(memory, ring.layout, true),
      inOrder: Ring === InOrderSplitVirtqueue,
    };
  };

const packedOf =
  (Ring: typeof PackedVirtqueue | typeof InOrderPackedVirtqueue): MakeSides =>
  ({ size, indirectEntries }) => {
    const memory = new PlainMemory();
    const ring = new Ring(memory, { index: 0, size, eventIndex: true, indirectEntries });
    return {
      ring,
      attach: () => new PackedDevice(memory, ring.layout, true),
      inOrder: Ring === InOrderPackedVirtqueue,
    };
  };

export const SPLIT_SIZES = [1, 2, 4, 8, 16];
export const PACKED_SIZES = [1, 2, 3, 5, 7, 12, 16];

export const KINDS = [
  { name: 'split', make: splitOf(SplitVirtqueue), sizes: SPLIT_SIZES },
  { name: 'packed', make: packedOf(PackedVirtqueue), sizes: PACKED_SIZES },
  { name: 'split, in order,', make: splitOf(InOrderSplitVirtqueue), sizes: SPLIT_SIZES },
  { name: 'packed, in order,', make: packedOf(InOrderPackedVirtqueue), sizes: PACKED_SIZES },
];
