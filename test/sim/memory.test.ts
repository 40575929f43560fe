import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DmaMemory, DmaRegion } from '../../src/memory/dma.js';
import { SimulatedMemory } from '../../src/sim/memory.js';
import { createSimulatedDevice } from '../../src/sim/index.js';

const PAGE = 4096;
/** Room for five regions of two pages, each with a page of distance. */
const END = 0x1000_0000 + 15 * PAGE;

function memory(memoryLimit?: number): DmaMemory {
  return createSimulatedDevice(memoryLimit === undefined ? {} : { memoryLimit }).memory;
}

function rangeOf(region: DmaRegion): { start: number; end: number } {
  const { lo, hi } = region.addressOf(0);
  expect(hi).toBe(0);
  return { start: lo, end: lo + region.size };
}

describe('the simulated memory', () => {
  it('gives zeroed regions of whole pages, with addresses of their own', () => {
    const region = memory().allocate(5000);
    expect(region.size).toBe(2 * PAGE);
    expect(region.buffer.byteLength).toBe(2 * PAGE);
    expect(new Uint8Array(region.buffer).every((byte) => byte === 0)).toBe(true);
    expect(region.addressOf(0).lo % PAGE).toBe(0);
    expect(region.addressOf(100)).toEqual({ lo: region.addressOf(0).lo + 100, hi: 0 });
  });

  it('is contiguous within a region and nowhere else', () => {
    const region = memory().allocate(PAGE);
    expect(region.isContiguous(0, PAGE)).toBe(true);
    expect(region.isContiguous(1, PAGE)).toBe(false);
    expect(region.isContiguous(-1, 1)).toBe(false);
    expect(() => region.addressOf(-1)).toThrow(RangeError);
    expect(() => region.addressOf(PAGE + 1)).toThrow(RangeError);
  });

  it('counts what is allocated, and detaches what is freed', () => {
    const pool = memory();
    const region = pool.allocate(1);
    const view = new Uint8Array(region.buffer);
    const other = pool.allocate(2 * PAGE);
    expect(pool.allocatedBytes).toBe(3 * PAGE);
    region.free();
    region.free();
    expect(pool.allocatedBytes).toBe(2 * PAGE);
    expect(region.buffer.byteLength).toBe(0);
    expect(view.length).toBe(0);
    other.free();
    expect(pool.allocatedBytes).toBe(0);
  });

  it('has an end', () => {
    const pool = memory(3 * PAGE);
    pool.allocate(2 * PAGE);
    const exhausted: unknown = expect.objectContaining({ code: 'MEMORY_EXHAUSTED' });
    expect(() => pool.allocate(PAGE + 1)).toThrow(exhausted);
    expect(pool.allocatedBytes).toBe(2 * PAGE);
    const last = pool.allocate(PAGE);
    expect(() => pool.allocate(1)).toThrow(exhausted);
    last.free();
    expect(pool.allocate(PAGE).size).toBe(PAGE);
  });

  it.each([0, -1, Number.NaN, 1.5, Number.POSITIVE_INFINITY])('refuses %d bytes', (size) => {
    expect(() => memory().allocate(size)).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }));
  });

  it('says that it lies behind an IOMMU, unless told otherwise', () => {
    expect(memory().behindIommu).toBe(true);
    expect(createSimulatedDevice({ behindIommu: false }).memory.behindIommu).toBe(false);
  });

  it('keeps regions apart, below 4 GiB, whatever is allocated and freed', () => {
    const steps = fc.array(fc.record({ pages: fc.integer({ min: 1, max: 40 }), free: fc.option(fc.nat()) }), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(steps, (plan) => {
        const pool = memory();
        const live: DmaRegion[] = [];
        for (const { pages, free } of plan) {
          live.push(pool.allocate(pages * PAGE));
          if (free !== null) live.splice(free % live.length, 1)[0].free();
          const ranges = live.map(rangeOf).sort((left, right) => left.start - right.start);
          for (const [index, { start, end }] of ranges.entries()) {
            expect(start).toBeGreaterThan(0);
            expect(end).toBeLessThan(2 ** 32);
            if (index > 0) expect(start).toBeGreaterThanOrEqual(ranges[index - 1].end + PAGE);
          }
        }
        expect(pool.allocatedBytes).toBe(live.reduce((sum, region) => sum + region.size, 0));
      }),
    );
  });

  it('uses addresses again when all were used once', () => {
    const pool = new SimulatedMemory({ limit: 64 * PAGE, behindIommu: true, endOfAddresses: END });
    const kept = pool.allocate(PAGE);
    const seen: number[] = [];
    for (let count = 0; count < 8; count++) {
      const region = pool.allocate(2 * PAGE);
      seen.push((rangeOf(region).start - rangeOf(kept).start) / PAGE);
      region.free();
    }
    expect(seen).toEqual([2, 5, 8, 11, 2, 5, 8, 11]);
  });

  it('runs out of addresses before it hands one out twice', () => {
    const pool = new SimulatedMemory({ limit: 64 * PAGE, behindIommu: true, endOfAddresses: END });
    const regions = Array.from({ length: 5 }, () => pool.allocate(2 * PAGE));
    expect(() => pool.allocate(2 * PAGE)).toThrow(expect.objectContaining({ code: 'IOVA_EXHAUSTED' }));
    expect(pool.allocatedBytes).toBe(10 * PAGE);
    regions[2].free();
    expect(() => pool.allocate(3 * PAGE)).toThrow(expect.objectContaining({ code: 'IOVA_EXHAUSTED' }));
    expect(rangeOf(pool.allocate(2 * PAGE)).start).toBe(0x1000_0000 + 6 * PAGE);
  });
});

describe('the simulated memory with physical addresses', () => {
  const physical = (): DmaMemory => createSimulatedDevice({ behindIommu: false }).memory;

  it('scatters the pages, beyond 4 GiB, so that none follows on another', () => {
    const region = physical().allocate(64 * PAGE);
    expect(region.isContiguous(0, PAGE)).toBe(true);
    for (let page = 1; page < 64; page++) {
      expect(region.isContiguous(page * PAGE - 1, 2)).toBe(false);
      expect(region.addressOf(page * PAGE)).toMatchObject({
        hi: expect.toSatisfy((hi: number) => hi > 0) as number,
      });
    }
  });

  it('has contiguous regions where that is asked for', () => {
    const pool = physical();
    const region = pool.allocate(5 * PAGE, { contiguous: true });
    expect(region.isContiguous(0, 5 * PAGE)).toBe(true);
    region.free();
    expect(pool.allocatedBytes).toBe(0);
  });

  it('leads a device to the page, and no further', () => {
    const pool = new SimulatedMemory({ limit: 64 * PAGE, behindIommu: false });
    const region = pool.allocate(2 * PAGE);
    const at = region.addressOf(PAGE + 9);
    expect(pool.resolve('a buffer', at, PAGE - 9)).toEqual({ region, offset: PAGE + 9 });
    expect(() => pool.resolve('a buffer', at, PAGE)).toThrow('runs over the end of its DMA region');
    expect(() => pool.resolve('a buffer', region.addressOf(0), PAGE + 1)).toThrow('lies elsewhere');
    region.free();
    expect(() => pool.resolve('a buffer', at, 1)).toThrow('outside the allocated');
  });

  it('can be chosen while nothing is allocated, and IOVAs only where there is an IOMMU', () => {
    const pool = memory();
    expect(pool.addressing).toBe('iova');
    const region = pool.allocate(1);
    pool.setAddressing('iova');
    expect(() => pool.setAddressing('physical')).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }));
    region.free();
    pool.setAddressing('physical');
    expect(pool.allocate(2 * PAGE).isContiguous(0, 2 * PAGE)).toBe(false);
    expect(() => physical().setAddressing('iova')).toThrow(
      expect.objectContaining({ code: 'VFIO_IOMMU_ABSENT' }),
    );
  });
});
