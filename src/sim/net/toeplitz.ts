/** The Toeplitz hash (VIRTIO 1.3, 5.1.6.4.3; its definition is Microsoft's, in "RSS hashing types"). */

/**
 * Hashes some bytes with a key. Of the key, as many bits are used as the input has, and 31 more; those that a
 * short key lacks are 0.
 *
 * @returns an unsigned 32-bit number
 */
export function toeplitzHash(key: Uint8Array, input: Uint8Array): number {
  let hash = 0;
  /** The 32 bits of the key that start at the bit that is looked at. */
  let window = 0;
  for (let at = 0; at < 4; at++) window = (window << 8) | byteOf(key, at);
  for (const [index, byte] of input.entries()) {
    const following = byteOf(key, index + 4);
    for (let bit = 7; bit >= 0; bit--) {
      if ((byte & (1 << bit)) !== 0) hash ^= window;
      window = (window << 1) | ((following >> bit) & 1);
    }
  }
  return hash >>> 0;
}

function byteOf(key: Uint8Array, at: number): number {
  return at < key.length ? key[at] : 0;
}
