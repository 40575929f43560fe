import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Range } from '../../src/vfio/capability-chain.js';
import { IOVA_LIMIT, IovaAllocator, USUAL_IOVA_RANGES } from '../../src/vfio/iova-allocator.js';

const PAGE = 4096;

describe('IovaAllocator', () => {
  it('hands out the lowest range that fits, and never address 0', () => {
    const iovas = new IovaAllocator([{ start: 0, end: 16 * PAGE }], PAGE);
    expect(iovas.allocate(PAGE)).toBe(PAGE);
    expect(iovas.allocate(4 * PAGE)).toBe(2 * PAGE);
    iovas.free(PAGE, PAGE);
    expect(iovas.allocate(2 * PAGE)).toBe(6 * PAGE);
    expect(iovas.allocate(PAGE)).toBe(PAGE);
  });

  it('joins what comes back, in any order', () => {
    const iovas = new IovaAllocator([{ start: 0, end: 4 * PAGE }], PAGE);
    const [a, b, c] = [iovas.allocate(PAGE), iovas.allocate(PAGE), iovas.allocate(PAGE)];
    expect(() => iovas.allocate(PAGE)).toThrow(expect.objectContaining({ code: 'IOVA_EXHAUSTED' }));
    iovas.free(a, PAGE);
    iovas.free(c, PAGE);
    expect(() => iovas.allocate(2 * PAGE)).toThrow(expect.objectContaining({ code: 'IOVA_EXHAUSTED' }));
    iovas.free(b, PAGE);
    expect(iovas.allocate(3 * PAGE)).toBe(PAGE);
  });

  it('leaves out the interrupt window of x86 where the kernel does not say', () => {
    const iovas = new IovaAllocator(USUAL_IOVA_RANGES, PAGE);
    const size = 0x1000_0000;
    for (let taken = 0; taken < 14; taken++) {
      const start = iovas.allocate(size);
      expect(start + size <= 0xfee00000 || start >= 0xfef00000).toBe(true);
    }
  });

  it('refuses a range that is free, and sizes that are no pages', () => {
    const iovas = new IovaAllocator([{ start: 0, end: 16 * PAGE }], PAGE);
    const start = iovas.allocate(2 * PAGE);
    iovas.free(start, 2 * PAGE);
    expect(() => iovas.free(start, 2 * PAGE)).toThrow(RangeError);
    expect(() => iovas.free(start + PAGE, PAGE)).toThrow(RangeError);
    for (const size of [0, -PAGE, 1, PAGE + 1, NaN]) expect(() => iovas.allocate(size)).toThrow(RangeError);
  });

  it('hands nothing out twice, keeps to the valid ranges, and gets all of it back', () => {
    const page = fc.integer({ min: 0, max: 2 ** 20 + 64 });
    const ranges = fc.array(
      fc
        .tuple(page, fc.integer({ min: 0, max: 64 }), fc.integer({ min: 0, max: PAGE - 1 }))
        .map(([first, pages, odd]): Range => ({
          start: first * PAGE + odd,
          end: (first + pages) * PAGE + odd,
        })),
      { minLength: 1, maxLength: 6 },
    );
    const steps = fc.array(fc.oneof(fc.integer({ min: 1, max: 24 }), fc.integer({ min: -50, max: -1 })), {
      maxLength: 80,
    });
    fc.assert(
      fc.property(ranges, steps, (valid, actions) => {
        const iovas = new IovaAllocator(valid, PAGE);
        const total = iovas.freeBytes;
        const held: Range[] = [];
        let bytes = 0;
        for (const action of actions) {
          if (action < 0) {
            if (held.length === 0) continue;
            const [returned] = held.splice(-action % held.length, 1);
            iovas.free(returned.start, returned.end - returned.start);
            bytes -= returned.end - returned.start;
          } else {
            const range = tryAllocate(iovas, action * PAGE);
            if (range === undefined) continue;
            expect(range.start).toBeGreaterThan(0);
            expect(range.end).toBeLessThanOrEqual(IOVA_LIMIT);
            expect(range.start % PAGE).toBe(0);
            expect(isCovered(range, valid)).toBe(true);
            expect(held.some((other) => other.start < range.end && range.start < other.end)).toBe(false);
            held.push(range);
            bytes += action * PAGE;
          }
          expect(iovas.freeBytes).toBe(total - bytes);
        }
        for (const { start, end } of held) iovas.free(start, end - start);
        expect(iovas.freeBytes).toBe(total);
        const fresh = new IovaAllocator(valid, PAGE);
        // Whole again: what fitted at first fits anew, at the same place.
        for (let pages = 64; pages > 0; pages--) {
          expect(tryAllocate(iovas, pages * PAGE)).toEqual(tryAllocate(fresh, pages * PAGE));
        }
      }),
      { numRuns: 500 },
    );
  });
});

function tryAllocate(iovas: IovaAllocator, size: number): Range | undefined {
  try {
    const start = iovas.allocate(size);
    return { start, end: start + size };
  } catch (error) {
    expect(error).toMatchObject({ code: 'IOVA_EXHAUSTED' });
    return undefined;
  }
}

/** Every page of the range lies in one of the valid ranges, or in several that overlap or touch. */
function isCovered(range: Range, valid: readonly Range[]): boolean {
  for (let at = range.start; at < range.end;) {
    const next = Math.max(
      0,
      ...valid.filter(({ start, end }) => start <= at && at < end).map(({ end }) => end),
    );
    if (next <= at) return false;
    at = next;
  }
  return true;
}
