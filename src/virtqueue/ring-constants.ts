/**
 * Numbers that each buffer meets on its way through a ring. They stand in a file of their own since the bundler puts the
 * constants of other modules in the place of their names, and not those of the module itself.
 */

/** No buffer: what {@link Virtqueue.take} gives when the device has finished none. */
export const NOTHING_USED = -1;
/**
 * The token of a descriptor, or buffer id, that no buffer has had yet. It is negative, as are those of all buffers that
 * the device does not have: of one that a burst added and the device returned, it is the complement of its token.
 */
export const NO_TOKEN = -0x8000_0000;

/** Position of flags and idx in the 16-bit view of either part of a split ring; the entries follow. */
export const FLAGS = 0;
export const IDX = 1;
export const ENTRIES = 2;

/**
 * The flags AVAIL and USED of a packed descriptor, where they stand in its last 32-bit word: bits 23 and 31, as a signed
 * number, which is what V8 computes with.
 */
export const PACKED_STATE = -0x7f80_0000;
/** The part of that word that holds the buffer id. */
export const PACKED_ID = 0xffff;
