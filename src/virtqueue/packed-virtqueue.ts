/**
 * The packed virtqueue of a device that may return buffers in any order, from the driver's side (VIRTIO 1.3, 2.8.2).
 */
import { LOADS_STAY_IN_ORDER } from './memory-order.js';
import { PackedRing } from './packed-ring.js';
import { NO_TOKEN, PACKED_ID, PACKED_STATE } from './ring-constants.js';

export class PackedVirtqueue extends PackedRing {
  takeBurst(tokens: Int32Array, lengths: Int32Array, max: number, from = 0): number {
    if (this.broken !== undefined) return 0;
    const to = from + max;
    let at = this.takeSingles(tokens, lengths, from, to);
    while (at < to && this.takeOther(tokens, lengths, at)) {
      at = this.takeSingles(tokens, lengths, at + 1, to);
    }
    return at - from;
  }

  requestInterrupt(count = 1): boolean {
    // A buffer of several descriptors makes the device skip some, and then nobody could tell whether it has passed one.
    return this.requestInterruptAt(this.longBuffers > 0 ? 0 : count - 1);
  }

  /**
   * Takes buffers that a burst added into `given[from]` and on, up to the first one that is not finished, or of another
   * kind, or that the device may not return; says where it stopped.
   *
   * How this loop is written, and why: see `takeSingles()` of the split ring.
   */
  protected takeSingles(given: Int32Array, lengths: Int32Array, from: number, most: number): number {
    const to = (LOADS_STAY_IN_ORDER ? most : from + this.countUsed(most - from)) | 0;
    const { size, words32, tokens, limits, freeIds, inTurn } = this;
    const { lengths: room } = this.described;
    const written = this.describedFlags;
    const alone = this.aloneBuffers;
    let position = this.nextUsed;
    let state = this.usedFlags << 16;
    let lastFree = this.lastFree;
    let at = from | 0;
    void (words32[0] | tokens[0] | limits[0] | freeIds[0] | given[0] | lengths[0] | room[0]);
    for (; at < to; at = (at + 1) | 0) {
      const word = position << 2;
      // Buffer id and flags in one load.
      const last = words32[word + 3];
      const id = last & PACKED_ID;
      if ((last & PACKED_STATE) !== state) break;
      if (id !== position && (inTurn === 1 || id >= size)) break;
      const token = tokens[id];
      if (token < 0 || (alone !== 0 && limits[id] < 0)) break;
      // WRITE in a used descriptor should say whether the length means anything (2.8.4), but QEMU never sets it.
      // For a buffer that it only reads, some devices report the bytes read.
      if (written !== 0) {
        const length = words32[word + 2];
        if (length < 0 || length > room[token]) break;
        lengths[at] = length;
      }
      given[at] = token;
      tokens[id] = NO_TOKEN;
      if (inTurn === 0) {
        freeIds[lastFree] = id;
        lastFree = lastFree + 1 === size ? 0 : (lastFree + 1) | 0;
      }
      position = (position + 1) | 0;
      if (position === size) {
        position = 0;
        state ^= PACKED_STATE;
      }
    }
    this.lastFree = lastFree;
    this.nextUsed = position;
    this.usedFlags = state >>> 16;
    this.freeDescriptors -= (from - at) | 0;
    this.outstanding += (from - at) | 0;
    return at;
  }

  /** Takes the buffer at which {@link takeSingles} stopped, if it was added alone or comes out of turn; or breaks the queue. */
  private takeOther(given: Int32Array, lengths: Int32Array, at: number): boolean {
    if (!this.isUsed(this.nextUsed, this.usedFlags)) return false;
    const word = this.nextUsed << 2;
    const id = this.words32[word + 3] & PACKED_ID;
    const length = this.words32[word + 2] >>> 0;
    if (!this.isValid(id, length)) return false;
    given[at] = this.tokens[id];
    lengths[at] = this.writableOf(id) === 0 ? 0 : length;
    this.release(id);
    return true;
  }

  /** Number of descriptors, from the next one on and up to `most`, that the device has marked as used. */
  private countUsed(most: number): number {
    let position = this.nextUsed;
    let flags = this.usedFlags;
    for (let count = 0; count < most; count += 1) {
      if (!this.isUsed(position, flags)) return count;
      position += 1;
      if (position === this.size) {
        position = 0;
        flags ^= PACKED_STATE >>> 16;
      }
    }
    return most;
  }
}
