/**
 * The isolation check: what the device owns, the driver must leave alone.
 *
 * When the device takes a buffer it copies every byte of it, descriptors included; when it gives the buffer
 * back it compares. A driver that writes into a buffer that it gave away is found out even where both sides
 * share the same memory and nothing would seem to go wrong.
 */
import type { Chain, Segment } from './chain.js';
import { hex } from './memory.js';
import { DriverViolation } from './violation.js';

/** A copy of a piece of memory that the device owns. */
export class Snapshot {
  readonly #what: string;
  readonly #segment: Segment;
  readonly #copy: Uint8Array;

  constructor(what: string, segment: Segment) {
    this.#what = what;
    this.#segment = segment;
    this.#copy = segment.bytes.slice();
  }

  /** @throws DriverViolation if the driver altered it */
  verify(): void {
    const { bytes, address } = this.#segment;
    const at = bytes.length === this.#copy.length ? firstDifference(bytes, this.#copy) : 0;
    if (at === undefined) return;
    const where = `byte ${at} of ${this.#what} at ${hex(address)}`;
    throw new DriverViolation(`the driver altered ${where} while the device owned it`);
  }
}

/** The copies of one buffer. */
export class Isolation {
  readonly #snapshots: readonly Snapshot[];

  constructor(chain: Chain) {
    this.#snapshots = [
      ...chain.descriptors.map((segment) => new Snapshot('a descriptor', segment)),
      ...chain.readableSegments.map((segment) => new Snapshot('a device-readable buffer', segment)),
      ...chain.writableSegments.map((segment) => new Snapshot('a device-writable buffer', segment)),
    ];
  }

  /** @throws DriverViolation if the driver altered what the device owned */
  verify(): void {
    for (const snapshot of this.#snapshots) snapshot.verify();
  }
}

/** The offset of the first byte that differs; undefined if none does. */
export function firstDifference(left: Uint8Array, right: Uint8Array): number | undefined {
  for (let at = 0; at < left.length; at++) if (left[at] !== right[at]) return at;
  return undefined;
}
