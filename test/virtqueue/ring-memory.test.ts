/** Where rings lie: each of their parts in one piece for the device, whatever the memory. */
import { describe, expect, it } from 'vitest';
import type { DeviceAddress, DmaMemory, DmaRegion } from '../../src/memory/dma.js';
import { DescriptorChain } from '../../src/virtqueue/descriptor-chain.js';
import { PackedVirtqueue } from '../../src/virtqueue/packed-virtqueue.js';
import { SplitVirtqueue } from '../../src/virtqueue/split-virtqueue.js';
import { PlainMemory } from '../support/plain-memory.js';
import { readDescriptor } from './device.js';
import { SplitDevice } from './split-device.js';

const PAGE = 4096;

/** Memory whose pages lie in the reverse order for the device, as physical ones may. */
function scattered(memory: PlainMemory): DmaMemory {
  return Object.create(memory, {
    allocate: { value: (size: number) => torn(memory.allocate(size)) },
  }) as DmaMemory;
}

function torn(region: DmaRegion): DmaRegion {
  const pages = region.size / PAGE;
  return {
    buffer: region.buffer,
    size: region.size,
    addressOf: (offset): DeviceAddress => {
      const page = pages - 1 - Math.floor(offset / PAGE);
      return region.addressOf(page * PAGE + (offset % PAGE));
    },
    isContiguous: (offset, length) => Math.floor(offset / PAGE) === Math.floor((offset + length - 1) / PAGE),
    free: () => region.free(),
  };
}

function addressOf({ lo, hi }: DeviceAddress): number {
  return hi * 2 ** 32 + lo;
}

const OPTIONS = { index: 0, eventIndex: true };

describe('in memory that is contiguous page by page only', () => {
  it('no part of a split ring of up to 256 descriptors crosses a page', () => {
    for (let size = 1; size <= 256; size *= 2) {
      const memory = new PlainMemory();
      const { layout } = new SplitVirtqueue(scattered(memory), { ...OPTIONS, size, indirectEntries: 17 });
      const parts: [DeviceAddress, number][] = [
        [layout.descriptorArea, 16 * size],
        [layout.driverArea, 6 + 2 * size],
        [layout.deviceArea, 6 + 8 * size],
      ];
      for (const [area, length] of parts) {
        expect((addressOf(area) % PAGE) + length).toBeLessThanOrEqual(PAGE);
      }
    }
  });

  it.each([SplitVirtqueue, PackedVirtqueue])('no indirect table of a %o crosses a page', (Ring) => {
    for (const entries of [2, 3, 17, 18, 100, 256]) {
      const memory = new PlainMemory();
      const ring = new Ring(scattered(memory), { ...OPTIONS, size: 64, indirectEntries: entries });
      const tables = new Set<number>();
      const chain = new DescriptorChain(64);
      for (let part = 0; part < Math.min(entries, 64); part += 1) chain.addReadable(part, 0, 8);
      for (let token = 0; token < 64; token += 1) {
        expect(ring.addChain(token, chain)).toBe(true);
        const { lo, hi } = ring.layout.descriptorArea;
        const table = readDescriptor(memory.bytesAt(lo, hi, 16 * 64), token);
        expect((table.lo % PAGE) + 16 * entries).toBeLessThanOrEqual(PAGE);
        tables.add(table.lo);
      }
      expect(tables.size).toBe(64);
    }
  });

  it.each([
    { Ring: SplitVirtqueue, options: { size: 512 }, part: /^A descriptor table of 8192 bytes/ },
    { Ring: SplitVirtqueue, options: { size: 4, indirectEntries: 300 }, part: /^An indirect table of 4800/ },
    { Ring: SplitVirtqueue, options: { size: 4, legacy: true }, part: /^A legacy ring of 4134 bytes/ },
    { Ring: PackedVirtqueue, options: { size: 257 }, part: /^A descriptor ring of 4112 bytes/ },
    { Ring: PackedVirtqueue, options: { size: 4, indirectEntries: 300 }, part: /^An indirect table of 4800/ },
  ])('a larger one is refused, and leaves nothing behind: $part', ({ Ring, options, part }) => {
    const memory = new PlainMemory();
    expect(() => new Ring(scattered(memory), { ...OPTIONS, ...options })).toThrow(
      expect.objectContaining({
        code: 'MEMORY_NOT_CONTIGUOUS',
        message: expect.stringMatching(part) as string,
        remedy: expect.stringMatching(/huge pages.*queueSize/) as string,
      }),
    );
    expect(memory.allocatedBytes).toBe(0);
  });
});

it.each([SplitVirtqueue, PackedVirtqueue])('a %o gives its indirect tables back as well', (Ring) => {
  const memory = new PlainMemory();
  const ring = new Ring(memory, { ...OPTIONS, size: 8, indirectEntries: 4 });
  expect(memory.regions).toHaveLength(2);
  ring.free();
  expect(memory.allocatedBytes).toBe(0);
});

describe('a legacy ring', () => {
  it.each([1, 8, 64, 128, 256, 1024, 32768])(
    'of %i descriptors lies where the device looks for it',
    (size) => {
      const { layout } = new SplitVirtqueue(new PlainMemory(), { ...OPTIONS, size, legacy: true });
      const start = addressOf(layout.descriptorArea);
      expect(start % PAGE).toBe(0);
      expect(addressOf(layout.driverArea)).toBe(start + 16 * size);
      const behind = start + 16 * size + 6 + 2 * size;
      expect(addressOf(layout.deviceArea)).toBe(behind + ((PAGE - (behind % PAGE)) % PAGE));
    },
  );

  it('works as any other', () => {
    const memory = new PlainMemory();
    const ring = new SplitVirtqueue(memory, { ...OPTIONS, size: 8, legacy: true });
    const device = new SplitDevice(memory, ring.layout, true);
    for (let token = 0; token < 100; token += 1) {
      expect(ring.addWritable(token, 64, 0, 100)).toBe(true);
      ring.publish();
      const taken = device.take();
      expect(taken?.parts).toEqual([{ address: 64, length: 100, writable: true }]);
      device.return(taken?.id ?? -1, token);
      expect([ring.take(), ring.usedLength]).toEqual([token, token]);
    }
  });
});
