/**
 * Where the parts of a packed ring lie in its memory, and what its words mean (VIRTIO 1.3, 2.8).
 */
import type { Stretch } from './ring-memory.js';
import { DESCRIPTOR_SIZE } from './split-layout.js';

/** Flags with which a driver makes a descriptor available, and a device marks it used, by wrap counter (2.8.1). */
export const PACKED_AVAILABLE = 1 << 7;
export const PACKED_USED = 1 << 15;

/** Values of the flags of an event suppression structure (2.8.10). */
export const EVENTS_ENABLED = 0;
export const EVENTS_DISABLED = 1;
export const EVENTS_AT_DESCRIPTOR = 2;

/** Byte offsets of the parts of a packed ring. */
export interface PackedLayout {
  readonly descriptors: number;
  /** What the driver asks of the device: two 16-bit words. */
  readonly driverEvents: number;
  /** What the device asks of the driver: two 16-bit words. */
  readonly deviceEvents: number;
  /** Length of all of it. */
  readonly total: number;
  /** What must be contiguous for the device. */
  readonly stretches: readonly Stretch[];
}

/** Each side writes to cache lines of its own; 128 bytes, since processors fetch lines in pairs. */
const SEPARATION = 128;

/** Bytes of an event suppression structure. */
const EVENTS_SIZE = 4;

export function packedLayout(size: number): PackedLayout {
  const length = size * DESCRIPTOR_SIZE;
  const driverEvents = Math.ceil(length / SEPARATION) * SEPARATION;
  const deviceEvents = driverEvents + SEPARATION;
  return {
    descriptors: 0,
    driverEvents,
    deviceEvents,
    total: deviceEvents + EVENTS_SIZE,
    // The event suppression structures are aligned, and far smaller than a page.
    stretches: [{ name: 'A descriptor ring', offset: 0, length }],
  };
}
