/** Which device addresses are free. */
import { MemoryError } from '../errors.js';
import type { Range } from './capability-chain.js';

/** Device addresses are below 4 GiB, so that all arithmetic on them is exact and no packet needs a BigInt. */
export const IOVA_LIMIT = 2 ** 32;

/** What is used where the kernel does not name the ranges: the interrupt windows of x86 and arm64 left out. */
export const USUAL_IOVA_RANGES: readonly Range[] = [
  { start: 0, end: 0x0800_0000 },
  { start: 0x0810_0000, end: 0xfee0_0000 },
  { start: 0xfef0_0000, end: IOVA_LIMIT },
];

/** Hands out ranges of device addresses: the lowest that fits, on a page boundary, never address 0. */
export class IovaAllocator {
  readonly #page: number;
  /** In ascending order, with a gap between each two. */
  #free: Range[];

  /**
   * @param valid - the ranges that the IOMMU translates
   * @param page - the granularity in bytes, a power of two
   */
  constructor(valid: readonly Range[], page: number) {
    this.#page = page;
    this.#free = normalise(valid, page);
  }

  /** Bytes that are free. */
  get freeBytes(): number {
    return this.#free.reduce((sum, { start, end }) => sum + end - start, 0);
  }

  /** Bytes of the longest range that is free. */
  get largest(): number {
    return this.#free.reduce((most, { start, end }) => Math.max(most, end - start), 0);
  }

  /**
   * Takes a range and returns its first address.
   *
   * @param size - in bytes, a multiple of the page
   * @throws MemoryError IOVA_EXHAUSTED
   */
  allocate(size: number): number {
    if (!(size > 0 && size % this.#page === 0)) {
      throw new RangeError(`A range of device addresses must have whole pages, not ${size} bytes`);
    }
    const index = this.#free.findIndex(({ start, end }) => end - start >= size);
    if (index === -1) {
      throw new MemoryError(
        'IOVA_EXHAUSTED',
        `No ${size} consecutive device addresses are free below 4 GiB; ${this.freeBytes} are in all`,
      );
    }
    const { start, end } = this.#free[index];
    this.#free.splice(index, 1, ...(start + size < end ? [{ start: start + size, end }] : []));
    return start;
  }

  /** Gives a range back that `allocate()` returned, whole. */
  free(start: number, size: number): void {
    const end = start + size;
    if (this.#free.some((range) => range.start < end && start < range.end)) {
      throw new RangeError(`Of the device addresses from ${start} to ${end} some are free already`);
    }
    this.#free = join([...this.#free, { start, end }]);
  }
}

/** Whole pages below the limit, without page 0. */
function normalise(ranges: readonly Range[], page: number): Range[] {
  const whole = ranges.map(({ start, end }) => ({
    start: Math.max(Math.ceil(start / page) * page, page),
    end: Math.floor(Math.min(end, IOVA_LIMIT) / page) * page,
  }));
  return join(whole.filter(({ start, end }) => start < end));
}

/** Sorts ranges, and makes one of those that touch or overlap. */
function join(ranges: Range[]): Range[] {
  const joined: Range[] = [];
  for (const range of ranges.sort((a, b) => a.start - b.start)) {
    const last = joined.at(-1);
    if (last !== undefined && range.start <= last.end) {
      joined[joined.length - 1] = { start: last.start, end: Math.max(last.end, range.end) };
    } else {
      joined.push(range);
    }
  }
  return joined;
}
