/** What a ring says that the device has not returned, in which order. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DescriptorChain } from '../../src/virtqueue/descriptor-chain.js';
import { InOrderPackedVirtqueue } from '../../src/virtqueue/packed-in-order.js';
import { PackedVirtqueue } from '../../src/virtqueue/packed-virtqueue.js';
import { InOrderSplitVirtqueue } from '../../src/virtqueue/split-in-order.js';
import { SplitVirtqueue } from '../../src/virtqueue/split-virtqueue.js';
import { PlainMemory } from '../support/plain-memory.js';
import { PackedDevice } from './packed-device.js';
import { SplitDevice } from './split-device.js';

const SIZE = 8;
const RINGS = [
  { name: 'split, in order', Ring: InOrderSplitVirtqueue, Device: SplitDevice, anyOrder: false },
  { name: 'packed, in order', Ring: InOrderPackedVirtqueue, Device: PackedDevice, anyOrder: false },
  { name: 'split', Ring: SplitVirtqueue, Device: SplitDevice, anyOrder: true },
  { name: 'packed', Ring: PackedVirtqueue, Device: PackedDevice, anyOrder: true },
];

/** Adds a chain of so many parts, or has the device return one of those that it has. */
type Step = { readonly parts: number } | { readonly returns: number };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    fc.record({ parts: fc.integer({ min: 1, max: 3 }) }),
    fc.record({ returns: fc.nat({ max: SIZE - 1 }) }),
  ),
  { maxLength: 60 },
);

function rig({ Ring, Device }: (typeof RINGS)[number]) {
  const memory = new PlainMemory();
  const ring = new Ring(memory, { index: 0, size: SIZE, eventIndex: false });
  return { memory, ring, device: new Device(memory, ring.layout, false) };
}

function chainOf(parts: number): DescriptorChain {
  const chain = new DescriptorChain(parts);
  for (let part = 0; part < parts; part += 1) chain.addReadable(part, 0, 8);
  return chain;
}

/** What the device has, the oldest first. */
interface Held {
  readonly id: number;
  readonly token: number;
}

describe.each(RINGS)('a ring, $name', (format) => {
  it('tells all that the device has, in its order where it returns in order', () => {
    fc.assert(
      fc.property(steps, fc.boolean(), (script, shuffles) => {
        const { ring, device } = rig(format);
        const held: Held[] = [];
        for (const [number, step] of script.entries()) {
          if ('parts' in step) {
            if (!ring.addChain(number, chainOf(step.parts))) continue;
            ring.publish();
            held.push({ id: device.take()?.id ?? -1, token: number });
          } else if (held.length > 0) {
            const at = format.anyOrder && shuffles ? step.returns % held.length : 0;
            const [{ id, token }] = held.splice(at, 1);
            device.return(id, 0);
            expect(ring.take()).toBe(token);
          }
          const tokens = held.map((each) => each.token);
          const told = ring.outstandingTokens();
          if (shuffles && format.anyOrder) expect([...told].sort((a, b) => a - b)).toEqual(tokens);
          else expect(told).toEqual(tokens);
        }
      }),
    );
  });

  it('tells each once and none besides, whatever the device has written over the ring', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: SIZE * 16, maxLength: SIZE * 16 }),
        fc.integer({ min: 1, max: SIZE }),
        (noise, count) => {
          const { memory, ring } = rig(format);
          for (let token = 0; token < count; token += 1) ring.addReadable(token, 0, 0, 8);
          ring.publish();
          const { lo, hi } = ring.layout.descriptorArea;
          const bytes = memory.bytesAt(lo, hi, SIZE * 16);
          bytes.set(noise.subarray(0, bytes.length));
          const { lo: available } = ring.layout.driverArea;
          if (format.Device === SplitDevice)
            memory.bytesAt(available, hi, SIZE * 2 + 4).set(noise.subarray(0, SIZE * 2 + 4));
          expect(ring.outstandingTokens().sort((a, b) => a - b)).toEqual([...Array(count).keys()]);
        },
      ),
    );
  });
});
