/**
 * The packed virtqueue of a device that returns buffers in the order in which it got them, from the driver's side
 * (VIRTIO 1.3, 2.8.8; VIRTIO_F_IN_ORDER).
 *
 * Such a device may return a batch by one used descriptor with the id of the last buffer; it stands where the first
 * descriptor of the batch was. Buffer ids are given out one after the other, and come free so.
 */
import { ID, PackedRing, WORDS } from './packed-ring.js';
import { NOTHING_USED } from './ring-constants.js';

export class InOrderPackedVirtqueue extends PackedRing {
  /** Id of the buffer that the device has had for longest. */
  private oldest = 0;
  /** How many buffers of the batch are still to be handed out, and the length of its last one. */
  private batchLeft = 0;
  private batchLength = 0;

  take(): number {
    if (this.batchLeft === 0 && !this.openBatch()) return NOTHING_USED;
    const id = this.oldest;
    this.oldest = id + 1 === this.size ? 0 : id + 1;
    this.batchLeft -= 1;
    // A buffer that was skipped counts as wholly used.
    this.usedLength = this.batchLeft === 0 ? this.batchLength : this.writableOf(id);
    const token = this.tokens[id];
    this.release(id);
    return token;
  }

  override hasUsed(): boolean {
    return this.batchLeft > 0 || super.hasUsed();
  }

  /** Of a batch the device marks one descriptor alone, which comes next: no later one shows how far it is. */
  requestInterrupt(): boolean {
    return this.requestInterruptAt(0) || this.batchLeft > 0;
  }

  protected override initialise(): void {
    super.initialise();
    this.oldest = 0;
    this.batchLeft = 0;
  }

  /** Reads the used descriptor of the next batch; says whether there is one. */
  private openBatch(): boolean {
    const position = this.nextUsed;
    if (!this.isUsed(position, this.usedFlags) || this.broken !== undefined) return false;
    const id = this.words16[position * WORDS + ID];
    const length = this.words32[position * 4 + 2] >>> 0;
    if (!this.isValid(id, length)) return false;
    // All ids from the oldest one to an outstanding one are outstanding.
    const ahead = id - this.oldest;
    this.batchLeft = (ahead < 0 ? ahead + this.size : ahead) + 1;
    this.batchLength = this.writableOf(id) === 0 ? 0 : length;
    return true;
  }
}
