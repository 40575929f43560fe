import type { DeviceAddress } from './dma.js';

/** Where the pages of a region lie, for a device that sees them at addresses of their own. */
export class PageAddresses {
  readonly #pages: Float64Array;
  readonly #pageSize: number;

  /**
   * @param pages - the device address of each page, in order; below 2^53, so that numbers hold them exactly
   * @param pageSize - in bytes
   */
  constructor(pages: Float64Array, pageSize: number) {
    this.#pages = pages;
    this.#pageSize = pageSize;
  }

  /** Whether all pages follow on each other. */
  get isOneRun(): boolean {
    return this.isContiguous(0, this.#pages.length * this.#pageSize);
  }

  /** The address of the byte at `offset`; that behind the last byte is its end. */
  addressOf(offset: number): DeviceAddress {
    // What is behind the last byte belongs to no page of its own.
    const page = Math.min(Math.floor(offset / this.#pageSize), this.#pages.length - 1);
    const address = this.#pages[page] + (offset - page * this.#pageSize);
    return { lo: address % 2 ** 32, hi: Math.floor(address / 2 ** 32) };
  }

  /** Whether the bytes, which must lie in the region, have consecutive addresses. */
  isContiguous(offset: number, length: number): boolean {
    const last = Math.floor((offset + length - 1) / this.#pageSize);
    for (let page = Math.floor(offset / this.#pageSize); page < last; page++) {
      if (this.#pages[page] + this.#pageSize !== this.#pages[page + 1]) return false;
    }
    return true;
  }
}
