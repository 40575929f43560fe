/** Every interleaving of what both sides do, against a model: nothing lost, nothing twice, no missed wake-up. */
import fc from 'fast-check';
import { describe, it } from 'vitest';
import { InOrderPackedVirtqueue } from '../../src/virtqueue/packed-in-order.js';
import { PackedVirtqueue } from '../../src/virtqueue/packed-virtqueue.js';
import { InOrderSplitVirtqueue } from '../../src/virtqueue/split-in-order.js';
import { SplitVirtqueue } from '../../src/virtqueue/split-virtqueue.js';
import { PlainMemory } from '../support/plain-memory.js';
import { PackedDevice } from './packed-device.js';
import { SplitDevice } from './split-device.js';
import { InOrderWorld, SCRIPTS, setups, World, type Setup, type Sides } from './world.js';

const splitOf =
  (Ring: typeof SplitVirtqueue | typeof InOrderSplitVirtqueue) =>
  ({ size, eventIndex, indirectEntries }: Setup): Sides => {
    const memory = new PlainMemory();
    const ring = new Ring(memory, { index: 0, size, eventIndex, indirectEntries });
    return [ring, new SplitDevice(memory, ring.layout, eventIndex)];
  };

const packedOf =
  (Ring: typeof PackedVirtqueue | typeof InOrderPackedVirtqueue) =>
  ({ size, eventIndex, indirectEntries }: Setup): Sides => {
    const memory = new PlainMemory();
    const ring = new Ring(memory, { index: 0, size, eventIndex, indirectEntries });
    return [ring, new PackedDevice(memory, ring.layout, eventIndex)];
  };

const SPLIT = setups([1, 2, 4, 8], [0, 0x7ffe, 0xfffc, 0xffff]);
const PACKED = setups([1, 2, 3, 5, 8], [0, 1, 4, 7, 0xffff]);

describe.each([
  { name: 'split', make: splitOf(SplitVirtqueue), setup: SPLIT, Model: World },
  { name: 'packed', make: packedOf(PackedVirtqueue), setup: PACKED, Model: World },
  { name: 'split, in order,', make: splitOf(InOrderSplitVirtqueue), setup: SPLIT, Model: InOrderWorld },
  { name: 'packed, in order,', make: packedOf(InOrderPackedVirtqueue), setup: PACKED, Model: InOrderWorld },
])('any interleaving on a $name ring', ({ make, setup, Model }) => {
  it('loses nothing, repeats nothing, and misses no wake-up', () => {
    fc.assert(
      fc.property(setup, SCRIPTS, (chosen, script) => {
        const world = new Model(chosen, make(chosen));
        for (const { do: name, ...values } of script) world[name](values);
        world.finish();
      }),
      { numRuns: 400 },
    );
  }, 120_000);
});
