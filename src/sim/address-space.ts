/** Device addresses for simulated memory: runs of pages that lie together, and pages that never do. */
import { MemoryError } from '../errors.js';

/** The unit in which addresses are handed out, in bytes. */
export const PAGE = 4096;
const LOWEST_ADDRESS = 0x1000_0000;
/** Scattered pages lie beyond 4 GiB, each two pages below the one before it: so none follows on another. */
const SCATTERED_END = 2 ** 40;
const SCATTERED_STEP = 2 * PAGE;

interface Run {
  readonly base: number;
  readonly size: number;
}

export class AddressSpace {
  readonly #end: number;
  /** The runs that are taken, in the order of their addresses. */
  readonly #runs: Run[] = [];
  #next = LOWEST_ADDRESS;
  #nextScattered = SCATTERED_END;

  /** @param end - where the addresses of runs end */
  constructor(end: number) {
    this.#end = end;
  }

  /**
   * Addresses of pages that follow on each other, with a page of distance to any other run. They are not used again
   * before all were used once, so that a stale one is found out.
   *
   * @throws MemoryError IOVA_EXHAUSTED
   */
  takeRun(count: number): Float64Array {
    const size = count * PAGE;
    const base = this.#rangeFrom(this.#next, size) ?? this.#rangeFrom(LOWEST_ADDRESS, size);
    if (base === undefined) {
      throw new MemoryError('IOVA_EXHAUSTED', `No device addresses for ${size} bytes`);
    }
    const after = this.#runs.findIndex((one) => one.base > base);
    this.#runs.splice(after < 0 ? this.#runs.length : after, 0, { base, size });
    this.#next = base + size + PAGE;
    return Float64Array.from({ length: count }, (_, index) => base + index * PAGE);
  }

  /** Addresses of pages of which none follows on another, beyond 4 GiB. They are never used again. */
  takeScattered(count: number): Float64Array {
    return Float64Array.from({ length: count }, () => (this.#nextScattered -= SCATTERED_STEP));
  }

  /** Gives back what one call has taken. */
  giveBack(pages: Float64Array): void {
    const index = this.#runs.findIndex(({ base }) => base === pages[0]);
    if (index >= 0) this.#runs.splice(index, 1);
  }

  #rangeFrom(lowest: number, size: number): number | undefined {
    let start = lowest;
    for (const { base, size: taken } of this.#runs) {
      if (base + taken + PAGE <= start) continue;
      if (start + size + PAGE <= base) break;
      start = base + taken + PAGE;
    }
    return start + size + PAGE <= this.#end ? start : undefined;
  }
}
