/** The order of buffers that a device has not returned. */

/**
 * @param slots - what the ring holds, the oldest first: numbers of buffers, which the device may have changed
 * @param tokens - by number of the buffer, the driver's own record: negative for what is not outstanding
 * @returns the tokens of all that is outstanding: first what the ring no longer shows, then what it shows, in its order
 */
export function inOrderOf(slots: readonly number[], tokens: Int32Array): number[] {
  // Of a buffer that shows twice the later place holds.
  const places = new Map(slots.map((buffer, place) => [buffer, place]));
  return Array.from(tokens.keys())
    .filter((buffer) => tokens[buffer] >= 0)
    .sort((one, other) => (places.get(one) ?? -1) - (places.get(other) ?? -1))
    .map((buffer) => tokens[buffer]);
}
