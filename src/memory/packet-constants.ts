/**
 * What the fields of a packet buffer may be. Plain numbers in a file of their own: the bundler puts those in the place of
 * their names, and of no others.
 */

/** Who has it. The driver: it lies in the pool, or in a ring, where the device may read or write it at any moment. */
export const OWNED_BY_DRIVER = 0;
/** A program has it, or an event or iterator is handing it out. */
export const OWNED_BY_USER = 1;
/** As that, and it was retained: more than one part of the program has it. */
export const OWNED_TOGETHER = 3;
/** A program has it as a segment of a frame that begins in another buffer. */
export const OWNED_AS_SEGMENT = 2;

export type Owner =
  typeof OWNED_BY_DRIVER | typeof OWNED_BY_USER | typeof OWNED_TOGETHER | typeof OWNED_AS_SEGMENT;

/** {@link PacketBuffer.checksum} and {@link PacketBuffer.gso} of a packet of which nothing is known or asked. */
export const NO_CHECKSUM = 0;
export const NO_GSO = 0;
/** {@link PacketBuffer.checksum} of a packet whose checksum is partial. */
export const CHECKSUM_NEEDED = 1;

/**
 * Bytes kept free in front of a frame. The virtio_net_hdr lies at the end of them, so that header and frame
 * are one descriptor, and the frame starts on a cache line.
 */
export const HEADROOM = 64;
