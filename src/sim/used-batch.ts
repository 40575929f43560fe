/** Buffers that a device returns together by one entry, as VIRTIO_F_IN_ORDER allows (VIRTIO 1.3, 2.7.9, 2.8.8). */
import type { Chain } from './chain.js';

/** What goes into the entry of a batch. */
export interface UsedBatch {
  /** Where the first buffer of the batch belongs, which is where the entry goes. */
  readonly start: number;
  /** Id and length of the last buffer. */
  readonly id: number;
  readonly length: number;
}

export class UsedBatches {
  readonly #batches: boolean;
  #open: UsedBatch | undefined;

  /** @param batches - whether several buffers are returned by one entry at all */
  constructor(batches: boolean) {
    this.#batches = batches;
  }

  /**
   * Adds a buffer that is complete.
   *
   * @param place - where its own entry would go
   * @returns the batch, if this buffer ends it: those that are skipped count as used wholly, so one that is not
   *   can only be the last
   */
  add(chain: Chain, place: number, length: number): UsedBatch | undefined {
    this.#open = { start: this.#open?.start ?? place, id: chain.id, length };
    return this.#batches && length === chain.writableLength ? undefined : this.end();
  }

  /** Ends the batch, if there is one. */
  end(): UsedBatch | undefined {
    const batch = this.#open;
    this.#open = undefined;
    return batch;
  }
}
