/**
 * Where the parts of a packed ring lie in its memory, and what its words mean (VIRTIO 1.3, 2.8).
 */
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
  /** The indirect tables, one for each buffer id. */
  readonly indirect: number;
  /** Length of all of it. */
  readonly total: number;
}

/** Each side writes to cache lines of its own; 128 bytes, since processors fetch lines in pairs. */
const SEPARATION = 128;

/** @param indirectEntries - descriptors in the indirect table of each buffer; 0 for none */
export function packedLayout(size: number, indirectEntries: number): PackedLayout {
  const driverEvents = Math.ceil((size * DESCRIPTOR_SIZE) / SEPARATION) * SEPARATION;
  const deviceEvents = driverEvents + SEPARATION;
  const indirect = deviceEvents + SEPARATION;
  return {
    descriptors: 0,
    driverEvents,
    deviceEvents,
    indirect,
    total: indirect + size * indirectEntries * DESCRIPTOR_SIZE,
  };
}
