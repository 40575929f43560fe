import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Histogram } from '../../bench/lib/histogram.js';

/** In µs. */
const BIN = 0.02;

describe('the histogram of latencies', () => {
  it('gives percentiles that are exact to one bin, and the longest as it is', () => {
    const histogram = new Histogram();
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 30_000_000 }), { minLength: 1, maxLength: 300 }),
        (all) => {
          histogram.clear();
          for (const nanoseconds of all) histogram.add(nanoseconds / 1e6);
          const sorted = all.toSorted((a, b) => a - b);
          const { count, p50, p99, max } = histogram.percentiles();
          expect(count).toBe(all.length);
          expect(max).toBeCloseTo(sorted[sorted.length - 1] / 1000, 6);
          for (const [part, value] of [
            [0.5, p50],
            [0.99, p99],
          ]) {
            const exact = sorted[Math.ceil(sorted.length * part) - 1] / 1000;
            expect(value).toBeGreaterThanOrEqual(exact - 1e-6);
            expect(value).toBeLessThanOrEqual(exact + 2 * BIN);
          }
        },
      ),
      { numRuns: 15 },
    );
  });

  it('does not make what lies beyond its bins shorter than it is', () => {
    const histogram = new Histogram();
    histogram.clear();
    for (let i = 0; i < 99; i += 1) histogram.add(250);
    histogram.add(300);
    expect(histogram.percentiles()).toMatchObject({ p50: 300_000, p99: 300_000, max: 300_000 });
  });
});
