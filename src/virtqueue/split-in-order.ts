/**
 * The split virtqueue of a device that returns buffers in the order in which it got them, from the driver's side
 * (VIRTIO 1.3, 2.7.9; VIRTIO_F_IN_ORDER).
 *
 * Such a device may return a batch by one entry of the used ring, that of the last buffer; it stands where the entry of
 * the first one would. Descriptors are used in the order of the table, and come free in it.
 */
import { SplitRing } from './split-ring.js';

export class InOrderSplitVirtqueue extends SplitRing {
  /** Used ring position behind the batch that is being handed out, and the length of its last buffer. */
  private batchEnd = 0;
  private batchLength = 0;
  takeBurst(tokens: Int32Array, lengths: Int32Array, max: number, from = 0): number {
    const to = from + max;
    let at = from;
    while (at < to) {
      // Buffers that the device returns one by one are the rule, batches the exception.
      if (this.nextUsed === this.batchEnd) at = this.takeReturned(tokens, lengths, at, to);
      if (at === to || (this.nextUsed === this.batchEnd && !this.openBatch())) break;
      const end = Math.min(to, at + ((this.batchEnd - this.nextUsed) & 0xffff));
      at = this.takeBatch(tokens, lengths, at, end);
      if (at < end) {
        this.takeOther(tokens, lengths, at);
        at += 1;
      }
    }
    return at - from;
  }

  protected override initialise(): void {
    super.initialise();
    this.batchEnd = 0;
  }

  /** Head of the buffer that the device has had for longest: they come free in turn. */
  private get oldest(): number {
    return this.lastFree & this.mask;
  }

  /** Takes what the device has returned one by one, up to where a batch begins; says where it stopped. */
  private takeReturned(tokens: Int32Array, lengths: Int32Array, from: number, to: number): number {
    const known = (this.seenUsed - this.nextUsed) & 0xffff;
    if (from + known < to && !this.lookForUsed()) return from;
    const finished = (this.seenUsed - this.nextUsed) & 0xffff;
    const at = this.takeSingles(tokens, lengths, from, Math.min(to, from + finished));
    this.batchEnd = this.nextUsed;
    return at;
  }

  /**
   * Takes buffers of the batch that a burst added into `given[from]` and on, up to the first one that was added alone;
   * says where it stopped.
   *
   * How this loop is written, and why: see `takeSingles()`.
   */
  private takeBatch(given: Int32Array, lengths: Int32Array, from: number, to: number): number {
    const { mask, tokens, limits, batchEnd, batchLength } = this;
    const { lengths: room } = this.described;
    const written = this.describedFlags;
    const alone = this.aloneBuffers;
    let position = this.nextUsed;
    let lastFree = this.lastFree;
    let at = from | 0;
    void (tokens[0] | limits[0] | given[0] | lengths[0] | room[0]);
    for (; at < to; at = (at + 1) | 0) {
      const head = lastFree & mask;
      if (alone !== 0 && limits[head] < 0) break;
      const token = tokens[head];
      given[at] = token;
      tokens[head] = ~token;
      lastFree = (lastFree + 1) | 0;
      position = (position + 1) & 0xffff;
      // A buffer that was skipped counts as wholly used.
      if (written !== 0) lengths[at] = position === batchEnd ? batchLength : room[token];
    }
    this.nextUsed = position;
    this.lastFree = lastFree & 0xffff;
    this.freeDescriptors -= (from - at) | 0;
    this.outstanding += (from - at) | 0;
    return at;
  }

  /** Takes the next buffer of the batch, which was added alone. */
  private takeOther(given: Int32Array, lengths: Int32Array, at: number): void {
    const head = this.oldest;
    this.nextUsed = (this.nextUsed + 1) & 0xffff;
    given[at] = this.tokens[head];
    lengths[at] = this.nextUsed === this.batchEnd ? this.batchLength : this.writableOf(head);
    this.recycle(head);
  }

  /** Reads the entry of the next batch; says whether there is one. */
  private openBatch(): boolean {
    const position = this.nextUsed;
    if (position === this.seenUsed && !this.lookForUsed()) return false;
    const entry = ((position & this.mask) << 1) + 1;
    const head = this.used32[entry] >>> 0;
    const length = this.used32[entry + 1] >>> 0;
    if (!this.isValid(head, length)) return false;
    const finished = (this.seenUsed - position) & 0xffff;
    const count = this.countUpTo(head, finished);
    if (count > finished) {
      const allowed = `its used index stands for ${finished} from descriptor ${this.oldest} on`;
      this.breakDown(`it returned descriptor ${head} out of order: ${allowed}`);
      return false;
    }
    this.batchEnd = (position + count) & 0xffff;
    this.batchLength = this.writableOf(head) === 0 ? 0 : length;
    return true;
  }

  /** Number of buffers from the oldest one to the one with that head; more than `most` if those do not reach it. */
  private countUpTo(head: number, most: number): number {
    if (this.aloneBuffers === 0) return ((head - this.oldest) & this.mask) + 1;
    let count = 1;
    for (let at = this.oldest; at !== head && count <= most; count += 1) {
      at = (at + this.descriptorsOf(at)) & this.mask;
    }
    return count;
  }
}
