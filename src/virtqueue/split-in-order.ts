/**
 * The split virtqueue of a device that returns buffers in the order in which it got them, from the driver's side
 * (VIRTIO 1.3, 2.7.9; VIRTIO_F_IN_ORDER).
 *
 * Such a device may return a batch by one entry of the used ring, that of the last buffer; it stands where the entry of
 * the first one would. Descriptors are used in the order of the table, and come free in it.
 */
import { NOTHING_USED } from './ring-constants.js';
import { SplitRing } from './split-ring.js';

export class InOrderSplitVirtqueue extends SplitRing {
  /** Head of the buffer that the device has had for longest. */
  private oldest = 0;
  /** Used ring position behind the batch that is being handed out, and the length of its last buffer. */
  private batchEnd = 0;
  private batchLength = 0;

  take(): number {
    if (this.nextUsed === this.batchEnd && !this.openBatch()) return NOTHING_USED;
    const head = this.oldest;
    const token = this.tokens[head];
    const descriptors = this.descriptorsOf(head);
    this.nextUsed = (this.nextUsed + 1) & 0xffff;
    // A buffer that was skipped counts as wholly used.
    this.usedLength = this.nextUsed === this.batchEnd ? this.batchLength : this.writableOf(head);
    this.oldest = (head + descriptors) & this.mask;
    this.recycle(head);
    return token;
  }

  protected override initialise(): void {
    super.initialise();
    this.oldest = 0;
    this.batchEnd = 0;
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
    let count = 1;
    for (let at = this.oldest; at !== head && count <= most; count += 1) {
      at = (at + this.descriptorsOf(at)) & this.mask;
    }
    return count;
  }
}
