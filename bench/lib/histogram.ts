/** Latencies, counted without allocating anything while they are measured. */

/** Width of a bin and what the bins cover, in milliseconds: 20 ns, up to 40 ms. */
const BIN = 20e-6;
const BINS = 2_000_000;

export interface Percentiles {
  readonly count: number;
  /** All in µs. */
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly p9999: number;
  readonly max: number;
}

export class Histogram {
  private readonly bins = new Uint32Array(BINS);
  /** In milliseconds; a typed array, since a field would get a new number each time. */
  private readonly longest = new Float64Array(1);

  /** Brings all of it into memory, so that the first count in a page is no slower than the others. */
  clear(): void {
    this.bins.fill(0);
    this.longest[0] = 0;
  }

  /** @param milliseconds - 0 or more */
  add(milliseconds: number): void {
    const bin = (milliseconds / BIN) | 0;
    this.bins[bin < BINS ? bin : BINS - 1] += 1;
    if (milliseconds > this.longest[0]) this.longest[0] = milliseconds;
  }

  percentiles(): Percentiles {
    const count = this.bins.reduce((sum, each) => sum + each, 0);
    const at = (part: number): number => this.quantile(part, count);
    const max = this.longest[0] * 1000;
    return {
      count,
      p50: at(0.5),
      p90: at(0.9),
      p99: at(0.99),
      p999: at(0.999),
      p9999: at(0.9999),
      max,
    };
  }

  /** In µs, the upper end of the bin; the last one has no end, and what lies in it is not longer than the longest. */
  private quantile(part: number, count: number): number {
    const wanted = Math.ceil(count * part);
    let seen = 0;
    for (let bin = 0; bin < BINS - 1; bin += 1) {
      seen += this.bins[bin];
      if (seen >= wanted) return (bin + 1) * BIN * 1000;
    }
    return this.longest[0] * 1000;
  }
}
