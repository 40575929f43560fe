/** The hash of receive side scaling, computed from its definition, bit by bit. */
export function toeplitz(key: Uint8Array, data: Uint8Array): number {
  const bit = (bytes: Uint8Array, at: number): number => ((bytes[at >> 3] ?? 0) >> (7 - (at & 7))) & 1;
  let hash = 0;
  for (let at = 0; at < data.length * 8; at += 1) {
    if (bit(data, at) === 0) continue;
    let window = 0;
    for (let shift = 0; shift < 32; shift += 1) window = (window << 1) | bit(key, at + shift);
    hash ^= window;
  }
  return hash >>> 0;
}
