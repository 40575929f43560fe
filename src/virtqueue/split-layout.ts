/**
 * Where the parts of a split ring lie in its memory (VIRTIO 1.3, 2.7).
 */
import { clearOfPageEnd, type Stretch } from './ring-memory.js';

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
  /** Length of all of it. */
  readonly total: number;
  /** What must be contiguous for the device. */
  readonly stretches: readonly Stretch[];
}

/**
 * The available ring is written by one side and the used ring by the other: on cache lines of their own
 * they don't disturb each other. 128 bytes, since processors fetch lines in pairs.
 */
const SEPARATION = 128;
/** Where the used ring of a legacy device is aligned to (2.7.2). */
const LEGACY_ALIGNMENT = 4096;

/** The layout of a device that is told where each part lies. */
export function splitLayout(size: number): SplitLayout {
  const lengths = partLengths(size);
  const available = clearOfPageEnd(roundUp(lengths.descriptors, SEPARATION), lengths.available);
  const used = clearOfPageEnd(roundUp(available + lengths.available, SEPARATION), lengths.used);
  return {
    descriptors: 0,
    available,
    used,
    total: used + lengths.used,
    stretches: [
      { name: 'A descriptor table', offset: 0, length: lengths.descriptors },
      { name: 'An available ring', offset: available, length: lengths.available },
      { name: 'A used ring', offset: used, length: lengths.used },
    ],
  };
}

/** The layout of a legacy device, which is told one page and finds all parts behind each other from there on (2.7.2). */
export function legacySplitLayout(size: number): SplitLayout {
  const lengths = partLengths(size);
  const available = lengths.descriptors;
  const used = roundUp(available + lengths.available, LEGACY_ALIGNMENT);
  const total = used + lengths.used;
  const stretches = [{ name: 'A legacy ring', offset: 0, length: total }];
  return { descriptors: 0, available, used, total, stretches };
}

/** In bytes, with the event index behind either ring. */
function partLengths(size: number): Record<'descriptors' | 'available' | 'used', number> {
  return { descriptors: size * DESCRIPTOR_SIZE, available: 6 + 2 * size, used: 6 + 8 * size };
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}
