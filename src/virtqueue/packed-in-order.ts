/**
 * The packed virtqueue of a device that returns buffers in the order in which it got them, from the driver's side
 * (VIRTIO 1.3, 2.8.8; VIRTIO_F_IN_ORDER).
 *
 * Such a device may return a batch by one used descriptor with the id of the last buffer; it stands where the first
 * descriptor of the batch was. Buffers come back in turn, so that their ids are the places of their first descriptors.
 */
import { ID, WORDS } from './packed-ring.js';
import { PackedVirtqueue } from './packed-virtqueue.js';
import { NO_TOKEN, PACKED_STATE } from './ring-constants.js';

/** Instead of the id of a buffer. */
const NO_BATCH = -1;

export class InOrderPackedVirtqueue extends PackedVirtqueue {
  /** Id of the last buffer of the batch that is being handed out, and its length. */
  private batchLast = NO_BATCH;
  private batchLength = 0;

  override takeBurst(tokens: Int32Array, lengths: Int32Array, max: number, from = 0): number {
    const to = from + max;
    let at = from;
    while (at < to && this.broken === undefined) {
      // Buffers that the device returns one by one are the rule, batches the exception.
      if (this.batchLast === NO_BATCH) at = this.takeSingles(tokens, lengths, at, to);
      if (at === to || (this.batchLast === NO_BATCH && !this.openBatch())) break;
      at = this.takeBatch(tokens, lengths, at, to);
      if (at < to && this.batchLast !== NO_BATCH) {
        this.takeFromBatch(tokens, lengths, at);
        at += 1;
      }
    }
    return at - from;
  }

  override hasUsed(): boolean {
    return this.batchLast !== NO_BATCH || super.hasUsed();
  }

  /** Of a batch the device marks one descriptor alone, which comes next: no later one shows how far it is. */
  override requestInterrupt(): boolean {
    return this.requestInterruptAt(0) || this.batchLast !== NO_BATCH;
  }

  protected override initialise(): void {
    super.initialise();
    this.batchLast = NO_BATCH;
  }

  /**
   * Takes buffers of the batch that a burst added into `given[from]` and on, up to the first one that was added alone;
   * says where it stopped.
   *
   * How this loop is written, and why: see `takeSingles()` of the split ring.
   */
  private takeBatch(given: Int32Array, lengths: Int32Array, from: number, to: number): number {
    const { size, tokens, limits, batchLast, batchLength } = this;
    const { lengths: room } = this.described;
    const written = this.describedFlags;
    const alone = this.aloneBuffers;
    let position = this.nextUsed;
    let lap = 0;
    let last = batchLast;
    let at = from | 0;
    void (tokens[0] | limits[0] | given[0] | lengths[0] | room[0]);
    for (; at < to && last !== NO_BATCH; at = (at + 1) | 0) {
      if (alone !== 0 && limits[position] < 0) break;
      const token = tokens[position];
      given[at] = token;
      tokens[position] = NO_TOKEN;
      // A buffer that was skipped counts as wholly used.
      if (written !== 0) lengths[at] = position === last ? batchLength : room[token];
      if (position === last) last = NO_BATCH;
      position = (position + 1) | 0;
      if (position === size) {
        position = 0;
        lap = PACKED_STATE >>> 16;
      }
    }
    this.batchLast = last;
    this.nextUsed = position;
    this.usedFlags ^= lap;
    this.freeDescriptors -= (from - at) | 0;
    this.outstanding += (from - at) | 0;
    return at;
  }

  /** Takes the next buffer of the batch, which was added alone. */
  private takeFromBatch(given: Int32Array, lengths: Int32Array, at: number): void {
    const id = this.nextUsed;
    const isLast = id === this.batchLast;
    given[at] = this.tokens[id];
    lengths[at] = isLast ? this.batchLength : this.writableOf(id);
    if (isLast) this.batchLast = NO_BATCH;
    this.release(id);
  }

  /** Reads the used descriptor of the next batch; says whether there is one. */
  private openBatch(): boolean {
    const position = this.nextUsed;
    if (!this.isUsed(position, this.usedFlags)) return false;
    const id = this.words16[position * WORDS + ID];
    const length = this.words32[position * 4 + 2] >>> 0;
    // All buffers from the next one to an outstanding one are outstanding.
    if (!this.isValid(id, length)) return false;
    this.batchLast = id;
    this.batchLength = this.writableOf(id) === 0 ? 0 : length;
    return true;
  }
}
