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

interface Snapshot {
  readonly what: string;
  readonly segment: Segment;
  readonly copy: Uint8Array;
}

/** The copies of one buffer. */
export class Isolation {
  readonly #snapshots: readonly Snapshot[];

  constructor(chain: Chain) {
    this.#snapshots = [
      ...chain.descriptors.map((segment) => snapshotOf('a descriptor', segment)),
      ...chain.readableSegments.map((segment) => snapshotOf('a device-readable buffer', segment)),
      ...chain.writableSegments.map((segment) => snapshotOf('a device-writable buffer', segment)),
    ];
  }

  /** @throws DriverViolation if the driver altered what the device owned */
  verify(): void {
    for (const { what, segment, copy } of this.#snapshots) {
      const at = segment.bytes.length === copy.length ? firstDifference(segment.bytes, copy) : 0;
      if (at === undefined) continue;
      const where = `byte ${at} of ${what} at ${hex(segment.address)}`;
      throw new DriverViolation(`the driver altered ${where} while the device owned it`);
    }
  }
}

/** The offset of the first byte that differs; undefined if none does. */
export function firstDifference(left: Uint8Array, right: Uint8Array): number | undefined {
  for (let at = 0; at < left.length; at++) if (left[at] !== right[at]) return at;
  return undefined;
}

function snapshotOf(what: string, segment: Segment): Snapshot {
  return { what, segment, copy: segment.bytes.slice() };
}
