/**
 * The split virtqueue of a device that may return buffers in any order, from the driver's side (VIRTIO 1.3, 2.7.8).
 */
import { SplitRing } from './split-ring.js';

export class SplitVirtqueue extends SplitRing {
  takeBurst(tokens: Int32Array, lengths: Int32Array, max: number, from = 0): number {
    const known = (this.seenUsed - this.nextUsed) & 0xffff;
    if (known < max && !this.lookForUsed()) return 0;
    const to = from + Math.min(max, (this.seenUsed - this.nextUsed) & 0xffff);
    let at = this.takeSingles(tokens, lengths, from, to);
    while (at < to && this.takeOther(tokens, lengths, at)) {
      at = this.takeSingles(tokens, lengths, at + 1, to);
    }
    return at - from;
  }

  /** Takes the buffer at which {@link takeSingles} stopped: one that was added alone, or comes out of turn; or breaks the queue. */
  private takeOther(given: Int32Array, lengths: Int32Array, at: number): boolean {
    const entry = ((this.nextUsed & this.mask) << 1) + 1;
    const head = this.used32[entry] >>> 0;
    const length = this.used32[entry + 1] >>> 0;
    if (!this.isValid(head, length)) return false;
    given[at] = this.tokens[head];
    lengths[at] = this.writableOf(head) === 0 ? 0 : length;
    this.recycle(head);
    this.nextUsed = (this.nextUsed + 1) & 0xffff;
    return true;
  }
}
