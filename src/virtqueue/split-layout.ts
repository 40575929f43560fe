/**
 * Where the parts of a split ring lie in its memory (VIRTIO 1.3, 2.7).
 */

/** Descriptor flags (VIRTIO 1.3, 2.7.5). */
export const DESCRIPTOR_NEXT = 1;
export const DESCRIPTOR_WRITE = 2;
export const DESCRIPTOR_INDIRECT = 4;
/** Bytes of a descriptor. */
export const DESCRIPTOR_SIZE = 16;
/** Available ring flag: the driver wants no interrupts. */
export const AVAILABLE_NO_INTERRUPT = 1;
/** Used ring flag: the device wants no notifications. */
export const USED_NO_NOTIFY = 1;

/** Byte offsets of the parts of a split ring. */
export interface SplitLayout {
  readonly descriptors: number;
  readonly available: number;
  readonly used: number;
  /** The indirect tables, one for each descriptor of the ring. */
  readonly indirect: number;
  /** Length of all of it. */
  readonly total: number;
}

/**
 * The available ring is written by one side and the used ring by the other: on cache lines of their own
 * they don't disturb each other. 128 bytes, since processors fetch lines in pairs.
 */
const SEPARATION = 128;

/** @param indirectEntries - descriptors in the indirect table of each ring entry; 0 for none */
export function splitLayout(size: number, indirectEntries: number): SplitLayout {
  const available = roundUp(size * DESCRIPTOR_SIZE, SEPARATION);
  const used = roundUp(available + 6 + 2 * size, SEPARATION);
  const indirect = roundUp(used + 6 + 8 * size, SEPARATION);
  return {
    descriptors: 0,
    available,
    used,
    indirect,
    total: indirect + size * indirectEntries * DESCRIPTOR_SIZE,
  };
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}
