/** Rings of a device that returns buffers in order, and several by one entry (VIRTIO 1.3, 2.7.9, 2.8.8). */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DescriptorChain } from '../../src/virtqueue/descriptor-chain.js';
import { InOrderPackedVirtqueue } from '../../src/virtqueue/packed-in-order.js';
import { InOrderSplitVirtqueue } from '../../src/virtqueue/split-in-order.js';
import { NOTHING_USED, type RingOptions, type Virtqueue } from '../../src/virtqueue/virtqueue.js';
import { PlainMemory } from '../support/plain-memory.js';
import { readDescriptor } from './device.js';
import { PackedDevice } from './packed-device.js';
import { SplitDevice } from './split-device.js';

type Ring = new (memory: PlainMemory, options: RingOptions) => Virtqueue;

interface Format {
  readonly name: string;
  readonly Ring: Ring;
  readonly Device: typeof SplitDevice | typeof PackedDevice;
}

const FORMATS: Format[] = [
  { name: 'split', Ring: InOrderSplitVirtqueue, Device: SplitDevice },
  { name: 'packed', Ring: InOrderPackedVirtqueue, Device: PackedDevice },
];

function rig({ Ring, Device }: Format, size: number, indirectEntries = 0) {
  const memory = new PlainMemory();
  const ring = new Ring(memory, { index: 3, size, eventIndex: true, indirectEntries });
  return { memory, ring, device: new Device(memory, ring.layout, true) };
}

/** All that the ring gives, with the length of each. */
function takeAll(ring: Virtqueue): [token: number, length: number][] {
  const taken: [number, number][] = [];
  for (let token = ring.take(); token !== NOTHING_USED; token = ring.take()) {
    taken.push([token, ring.usedLength]);
  }
  return taken;
}

function chainOf(readable: number, writable: number, length = 8): DescriptorChain {
  const chain = new DescriptorChain(16);
  for (let part = 0; part < readable; part += 1) chain.addReadable(part, 0, length);
  for (let part = 0; part < writable; part += 1) chain.addWritable(part, 0, length);
  return chain;
}

describe.each(FORMATS)('an in-order $name ring', (format) => {
  it('takes a batch apart: what was skipped was used wholly, the last one as far as its entry says', () => {
    const { ring, device } = rig(format, 8);
    ring.addWritable(10, 0, 0, 100);
    ring.addReadable(11, 0, 0, 60);
    ring.addChain(12, chainOf(1, 2));
    ring.addWritable(13, 0, 0, 100);
    ring.publish();
    const ids = [0, 1, 2, 3].map(() => device.take()?.id ?? -1);
    device.returnBatch(ids, 42);
    expect(ring.hasUsed()).toBe(true);
    expect(takeAll(ring)).toEqual([
      [10, 100],
      [11, 0],
      [12, 16],
      [13, 42],
    ]);
    expect(ring.freeDescriptors).toBe(8);
  });

  it('says between the buffers of a batch that there are more, and needs no interrupt for them', () => {
    const { ring, device } = rig(format, 8);
    for (const token of [1, 2, 3]) ring.addReadable(token, 0, 0, 60);
    ring.publish();
    device.returnBatch(
      [1, 2, 3].map(() => device.take()?.id ?? -1),
      0,
    );
    for (const token of [1, 2, 3]) {
      expect(ring.hasUsed()).toBe(true);
      expect(ring.requestInterrupt()).toBe(true);
      expect(ring.take()).toBe(token);
    }
    expect(ring.hasUsed()).toBe(false);
    expect(ring.requestInterrupt()).toBe(false);
  });

  it('goes on with batches of every length over the wraps of all counters', () => {
    const { ring, device } = rig(format, 8);
    let next = 0;
    for (let round = 0; next < 2 * 65536 + 100; round += 1) {
      const tokens = Array.from({ length: 1 + (round % 8) }, (_, index) => next + index);
      for (const token of tokens) ring.addWritable(token, 0, 0, 64);
      ring.publish();
      device.returnBatch(
        tokens.map(() => device.take()?.id ?? -1),
        round % 65,
      );
      const last = tokens.at(-1);
      const taken = takeAll(ring);
      if (taken.length !== tokens.length) throw new Error(`${taken.length} of ${tokens.length} came back`);
      for (const [index, [token, length]] of taken.entries()) {
        if (token !== tokens[index]) throw new Error(`buffer ${token} came back for ${tokens[index]}`);
        if (length !== (token === last ? round % 65 : 64))
          throw new Error(`buffer ${token}: ${length} bytes`);
      }
      next += tokens.length;
    }
    expect(ring.broken).toBeUndefined();
    expect(ring.freeDescriptors).toBe(8);
  });

  it('breaks where the device returns what it has returned before, what does not exist, or too much', () => {
    const returns: [id: number, length: number, message: RegExp][] = [
      [0, 0, /returned (descriptor|buffer) 0, which it did not have/],
      [8, 0, /returned (descriptor|buffer) 8 of 8/],
      [3, 0, /returned (descriptor|buffer) 3, which it did not have/],
      [1, 101, /wrote 101 bytes into a buffer of 100/],
    ];
    for (const [id, length, message] of returns) {
      const { ring, device } = rig(format, 8);
      for (const token of [1, 2, 3]) ring.addWritable(token, 0, 0, 100);
      ring.publish();
      device.return(device.take()?.id ?? -1, 10);
      expect(takeAll(ring)).toEqual([[1, 10]]);
      if (device instanceof SplitDevice) {
        device.writeEntry(id, length);
        device.advance(1);
      } else {
        device.write(id, length);
      }
      expect(ring.take()).toBe(NOTHING_USED);
      expect(ring.broken).toMatchObject({
        code: 'QUEUE_BROKEN',
        message: expect.stringMatching(message) as string,
      });
      expect(ring.hasUsed()).toBe(false);
      const reclaimed: number[] = [];
      ring.reset((token) => reclaimed.push(token));
      expect(reclaimed.sort()).toEqual([2, 3]);
    }
  });

  it('begins anew after a reset, whatever the batch that it was in', () => {
    const { memory, ring } = rig(format, 8);
    let device = new format.Device(memory, ring.layout, true);
    for (let round = 0; round < 5; round += 1) {
      for (const token of [1, 2, 3, 4, 5]) ring.addReadable(token, 0, 0, 60);
      ring.publish();
      device.returnBatch(
        [1, 2, 3].map(() => device.take()?.id ?? -1),
        0,
      );
      expect(ring.take()).toBe(1);
      const reclaimed: number[] = [];
      ring.reset((token) => reclaimed.push(token));
      expect(reclaimed.sort()).toEqual([2, 3, 4, 5]);
      expect([ring.freeDescriptors, ring.outstanding, ring.take()]).toEqual([8, 0, NOTHING_USED]);
      device = new format.Device(memory, ring.layout, true);
    }
  });

  it('never gives a buffer that the device does not have, nor one twice, whatever the device writes', () => {
    const entry = fc.record({
      id: fc.oneof(fc.nat(9), fc.nat(0xffff)),
      length: fc.oneof(fc.nat(40), fc.nat(0xffffffff)),
      count: fc.oneof(fc.nat(4), fc.nat(0xffff)),
      add: fc.nat(4),
      parts: fc.integer({ min: 1, max: 3 }),
    });
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 60 }), fc.constantFrom(0, 3), (entries, indirect) => {
        const { ring, device } = rig(format, 8, indirect);
        const out = new Map<number, number>();
        let next = 0;
        for (const { id, length, count, add, parts } of entries) {
          for (let index = 0; index < add; index += 1) {
            if (ring.addChain(next, chainOf(0, parts))) out.set(next, 8 * parts);
            next += 1;
          }
          ring.publish();
          if (device instanceof SplitDevice) {
            device.writeEntry(id, length);
            device.advance(count);
          } else {
            device.write(id, length, count % 2 === 0);
          }
          for (const [token, used] of takeAll(ring)) {
            expect(used).toBeLessThanOrEqual(out.get(token) ?? -1);
            expect(out.delete(token)).toBe(true);
          }
          expect(ring.outstanding).toBe(out.size);
        }
        const reclaimed: number[] = [];
        ring.reset((token) => reclaimed.push(token));
        expect(new Set(reclaimed)).toEqual(new Set(out.keys()));
        expect(reclaimed).toHaveLength(out.size);
        expect(ring.freeDescriptors).toBe(8);
      }),
      { numRuns: 500 },
    );
  });
});

describe('an in-order split ring', () => {
  const [split] = FORMATS;

  it('breaks where the used index does not reach the buffer that the device names', () => {
    const { ring, device } = rig(split, 8);
    for (const token of [1, 2, 3]) ring.addReadable(token, 0, 0, 60);
    ring.publish();
    if (!(device instanceof SplitDevice)) throw new Error('the device is no split one');
    device.writeEntry(2, 0);
    device.advance(2);
    expect(ring.take()).toBe(NOTHING_USED);
    expect(ring.broken?.message).toMatch(
      /returned descriptor 2 out of order: its used index stands for 2 from descriptor 0 on/,
    );
    expect(ring.outstanding).toBe(3);
  });

  // Proves: split/the-virtqueue-descriptor-table/2
  it('uses the descriptors of the table one after the other, and links each to the one behind it', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 40 }), (lengths) => {
        const { memory, ring, device } = rig(split, 8);
        const { lo, hi } = ring.layout.descriptorArea;
        let expected = 0;
        for (const parts of lengths) {
          expect(ring.addChain(1, chainOf(parts, 0))).toBe(true);
          ring.publish();
          const head = device.take()?.id ?? -1;
          expect(head).toBe(expected);
          for (let part = 0; part + 1 < parts; part += 1) {
            const x = (head + part) % 8;
            const [flags, next] = readDescriptor(memory.bytesAt(lo, hi, 128), x).words;
            expect([flags, next]).toEqual([1, x === 7 ? 0 : x + 1]);
          }
          expected = (expected + parts) % 8;
          device.return(head, 0);
          expect(ring.take()).toBe(1);
        }
      }),
    );
  });

  // Proves: split/indirect-descriptors/5
  it('links the descriptors of an indirect table in their order', () => {
    const { memory, ring } = rig(split, 8, 6);
    for (let round = 0; round < 8; round += 1) {
      ring.addChain(round, chainOf(3, 3));
      const { lo, hi } = ring.layout.descriptorArea;
      const { words, ...table } = readDescriptor(memory.bytesAt(lo, hi, 128), round);
      expect(words[0]).toBe(4);
      const entries = memory.bytesAt(table.lo, table.hi, table.length);
      const links = [0, 1, 2, 3, 4, 5].map((index) => readDescriptor(entries, index).words);
      expect(links.map(([flags]) => flags & 1)).toEqual([1, 1, 1, 1, 1, 0]);
      expect(links.slice(0, 5).map(([, next]) => next)).toEqual([1, 2, 3, 4, 5]);
    }
  });
});
