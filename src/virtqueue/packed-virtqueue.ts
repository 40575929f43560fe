/**
 * The packed virtqueue of a device that may return buffers in any order, from the driver's side (VIRTIO 1.3, 2.8.2).
 */
import { ID, NOT_OUTSTANDING, PackedRing, WORDS } from './packed-ring.js';
import { NOTHING_USED } from './virtqueue.js';

export class PackedVirtqueue extends PackedRing {
  take(): number {
    const position = this.nextUsed;
    if (!this.isUsed(position, this.usedFlags) || this.broken !== undefined) return NOTHING_USED;
    const id = this.words16[position * WORDS + ID];
    const length = this.words32[position * 4 + 2];
    if (id >= this.size) return this.refuse(id, length);
    const token = this.tokens[id];
    const writable = this.writableLengths[id];
    if (token === NOT_OUTSTANDING || (length > writable && writable !== 0)) return this.refuse(id, length);
    this.usedLength = writable === 0 ? 0 : length;
    this.nextId[id] = this.freeId;
    this.freeId = id;
    this.release(id);
    return token;
  }

  requestInterrupt(count = 1): boolean {
    // A buffer of several descriptors makes the device skip some, and then nobody could tell whether it has passed one.
    return this.requestInterruptAt(this.longBuffers > 0 ? 0 : count - 1);
  }
}
