/**
 * Where buffers lie for the device, by their tokens: what a burst is added from, so that nothing is handed over for each
 * buffer but its token.
 */
export class BufferTable {
  /** Length of each in bytes, 1 to 2^31 - 1. */
  readonly lengths: Int32Array;
  /** Device address of each, in one piece, as it stands in a descriptor: a burst copies it by one load and one store. */
  readonly addresses: BigUint64Array;
  /**
   * The same memory, in halves of 32 bits: the low one at twice the token, the high one behind it. Signed, as all words
   * of a ring: V8 computes with signed integers.
   */
  readonly halves: Int32Array;

  /** @param size - tokens are below that */
  constructor(size: number) {
    this.lengths = new Int32Array(size);
    this.addresses = new BigUint64Array(size);
    this.halves = new Int32Array(this.addresses.buffer);
  }

  set(token: number, lo: number, hi: number, length: number): void {
    this.halves[token << 1] = lo;
    this.halves[(token << 1) + 1] = hi;
    this.lengths[token] = length;
  }
}
