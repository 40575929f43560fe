/** The buffers that the device has taken and not given back. */
import { scatter, type Chain, type Segment } from './chain.js';
import type { QueueOptions } from './device-queue.js';
import { Isolation } from './isolation.js';
import type { SimulatedRegion } from './memory.js';

export class OwnedBuffers {
  readonly #isolation: boolean;
  readonly #inOrder: boolean;
  /** The oldest first. */
  readonly #buffers = new Map<Chain, Isolation | undefined>();
  /** What must not be made available again meanwhile: descriptors on a split ring, buffer ids on a packed one. */
  readonly #names = new Set<number>();

  constructor({ isolation, inOrder }: Pick<QueueOptions, 'isolation' | 'inOrder'>) {
    this.#isolation = isolation;
    this.#inOrder = inOrder;
  }

  owns(name: number): boolean {
    return this.#names.has(name);
  }

  add(chain: Chain, names: readonly number[]): void {
    this.#buffers.set(chain, this.#isolation ? new Isolation(chain) : undefined);
    for (const name of names) this.#names.add(name);
  }

  /**
   * Writes the bytes into the device-writable part of a buffer and gives it up.
   *
   * @throws DriverViolation if the driver altered the buffer meanwhile, or freed it
   */
  giveBack(chain: Chain, names: readonly number[], bytes: Uint8Array): void {
    if (this.#inOrder && this.#buffers.keys().next().value !== chain) {
      throw new Error(
        `${chain.name} is not the oldest: a device that promised order must return that one first`,
      );
    }
    this.#buffers.get(chain)?.verify();
    scatter(chain.writableSegments, bytes);
    this.#buffers.delete(chain);
    for (const name of names) this.#names.delete(name);
  }

  /** Whether a part of any buffer lies in the region. */
  uses(region: SimulatedRegion): boolean {
    const lies = (segment: Segment): boolean => segment.region === region;
    for (const chain of this.#buffers.keys()) {
      if ([...chain.descriptors, ...chain.readableSegments, ...chain.writableSegments].some(lies))
        return true;
    }
    return false;
  }

  /** @throws DriverViolation if the driver altered any of the buffers */
  verify(): void {
    for (const isolation of this.#buffers.values()) isolation?.verify();
  }
}
