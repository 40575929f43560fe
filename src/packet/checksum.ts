/** The internet checksum (RFC 1071): the ones' complement of the ones' complement sum of 16-bit words. */

/**
 * The internet checksum of the bytes from `offset` to `end`, as the number to store in network order.
 *
 * Over bytes that hold their own correct checksum it is 0. An odd last byte is padded with a zero.
 *
 * @param initial - a sum of 16-bit words to start with, for a pseudo header
 */
export function internetChecksum(bytes: Uint8Array, offset = 0, end = bytes.length, initial = 0): number {
  const last = Math.min(end, bytes.length);
  let sum = initial;
  let at = offset;
  // A double holds the sum of 2^37 words exactly, so the carries are folded once, at the end.
  for (; at + 1 < last; at += 2) sum += (bytes[at] << 8) | bytes[at + 1];
  if (at < last) sum += bytes[at] << 8;
  return ~foldCarries(sum) & 0xffff;
}

function foldCarries(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = Math.floor(folded / 0x10000) + (folded % 0x10000);
  return folded;
}
