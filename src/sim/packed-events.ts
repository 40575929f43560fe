/** Event suppression on a packed ring: what either side says about notifications (VIRTIO 1.3, 2.8.10, 2.8.14). */
import { DriverViolation } from './violation.js';

const ENABLE = 0;
const DISABLE = 1;
const AT_DESCRIPTOR = 2;
const FLAGS_SHIFT = 16;
const FLAGS_MASK = 3;
const WRAP_BIT = 1 << 15;

/** When the driver wants to be notified: always, never, or of one descriptor in laps of one wrap counter. */
export type DriverWish = 'always' | 'never' | { readonly descriptor: number; readonly wrap: boolean };

/**
 * When the device wants to be notified: always, never, or of the descriptor at a place.
 *
 * Places in the ring are counted from the start, 0, 1, 2, ... without end: the place p is descriptor p modulo the
 * size of the ring, in lap p divided by it, and the wrap counter is 1 in laps 0, 2, 4, ...
 */
export type DeviceWish = 'always' | 'never' | number;

/** What a wish is read with. */
export interface EventRules {
  /** Number of descriptors in the ring. */
  readonly size: number;
  /** Whether VIRTIO_F_RING_EVENT_IDX was negotiated. */
  readonly eventIdx: boolean;
}

/** Whether the wrap counter is 1 at a place. */
export function wrapAt(place: number, size: number): boolean {
  return Math.floor(place / size) % 2 === 0;
}

/** The event suppression structure, as one 32-bit word, that says what the device wishes. */
export function eventWord(wish: DeviceWish, size: number): number {
  if (wish === 'always') return ENABLE << FLAGS_SHIFT;
  if (wish === 'never') return DISABLE << FLAGS_SHIFT;
  return (AT_DESCRIPTOR << FLAGS_SHIFT) | (wrapAt(wish, size) ? WRAP_BIT : 0) | (wish % size);
}

/**
 * Reads what the driver wishes out of its event suppression structure, taken as one 32-bit word.
 *
 * @throws DriverViolation
 */
export function readDriverEvents(word: number, { size, eventIdx }: EventRules): DriverWish {
  const flags = word >>> FLAGS_SHIFT;
  const where = `the flags of the driver’s event suppression are ${flags}`;
  if (flags > FLAGS_MASK) throw new DriverViolation(`${where}: the reserved bits must be 0`);
  if (flags === FLAGS_MASK) throw new DriverViolation(`${where}, which is reserved`);
  if (flags !== AT_DESCRIPTOR) return flags === ENABLE ? 'always' : 'never';
  if (!eventIdx) {
    throw new DriverViolation(`${where} (DESC), but VIRTIO_F_RING_EVENT_IDX was not negotiated`);
  }
  const descriptor = word & (WRAP_BIT - 1);
  if (descriptor < size) return { descriptor, wrap: (word & WRAP_BIT) !== 0 };
  throw new DriverViolation(
    `the driver’s event suppression names descriptor ${descriptor}, but the queue has ${size}`,
  );
}

/** Whether the wish is for one of the places from `from` on, before `to`; those are at most a whole ring. */
export function isWished(wish: DriverWish, from: number, to: number, size: number): boolean {
  if (typeof wish === 'string') return wish === 'always';
  const lap = Math.floor(from / size);
  return [lap, lap + 1].some((each) => {
    const place = each * size + wish.descriptor;
    return wrapAt(place, size) === wish.wrap && place >= from && place < to;
  });
}
