/**
 * The split virtqueue of a device that may return buffers in any order, from the driver's side (VIRTIO 1.3, 2.7.8).
 */
import { NOT_OUTSTANDING, SplitRing } from './split-ring.js';
import { NOTHING_USED } from './virtqueue.js';

export class SplitVirtqueue extends SplitRing {
  take(): number {
    const position = this.nextUsed;
    if (position === this.seenUsed && !this.lookForUsed()) return NOTHING_USED;
    const entry = ((position & this.mask) << 1) + 1;
    const head = this.used32[entry];
    const length = this.used32[entry + 1];
    if (head >= this.size) return this.refuse(head, length);
    const token = this.tokens[head];
    const writable = this.writableLengths[head];
    if (token === NOT_OUTSTANDING || (length > writable && writable !== 0)) return this.refuse(head, length);
    this.usedLength = writable === 0 ? 0 : length;
    this.nextUsed = (position + 1) & 0xffff;
    this.recycle(head);
    return token;
  }

  /** Puts the descriptors of a buffer back on the free list, following the driver's own links. */
  private recycle(head: number): void {
    const descriptors = this.chainLengths[head];
    let last = head;
    for (let step = 1; step < descriptors; step += 1) last = this.next[last];
    this.next[last] = this.freeHead;
    this.freeHead = head;
    this.freeDescriptors += descriptors;
    this.tokens[head] = NOT_OUTSTANDING;
    this.outstanding -= 1;
  }
}
