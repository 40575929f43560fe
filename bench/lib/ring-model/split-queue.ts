/** The device's side of a split ring (VIRTIO 1.3, 2.7). */
import type { QueueLayout } from 'virtio-net';
import type { ModelMemory } from './memory.js';
import { HeaderWriter, type ModelQueue } from './queue.js';

/** Words in front of the entries of the available and the used ring: flags, then the index. */
const FLAGS = 0;
const INDEX = 1;
const ENTRIES = 2;
const USED_NO_NOTIFY = 1;

export class SplitModelQueue implements ModelQueue {
  private readonly mask: number;
  /** Four words for each descriptor: address, its upper half, length, flags and next. */
  private readonly descriptors: Uint32Array;
  private readonly available: Uint16Array;
  private readonly used: Uint16Array;
  /** Two words for each entry of the used ring: id and length. */
  private readonly usedEntries: Uint32Array;
  private readonly headers: HeaderWriter;
  private next = 0;

  constructor(memory: ModelMemory, { size, descriptorArea, driverArea, deviceArea }: QueueLayout) {
    const region = memory.regionAt(descriptorArea.lo);
    const { buffer, base } = region;
    this.mask = size - 1;
    this.descriptors = new Uint32Array(buffer, descriptorArea.lo - base, size * 4);
    this.available = new Uint16Array(buffer, driverArea.lo - base, ENTRIES + size);
    this.used = new Uint16Array(buffer, deviceArea.lo - base, 2);
    this.usedEntries = new Uint32Array(buffer, deviceArea.lo - base + 4, size * 2);
    this.headers = new HeaderWriter(memory);
    // As a backend that polls its rings.
    this.used[FLAGS] = USED_NO_NOTIFY;
  }

  finish(most: number, length: number): number {
    const { mask, available, usedEntries } = this;
    const waiting = (Atomics.load(available, INDEX) - this.next) & 0xffff;
    const count = waiting < most ? waiting : most;
    for (let i = 0; i < count; i += 1) {
      const slot = (this.next + i) & mask;
      const id = available[ENTRIES + slot];
      if (length > 0) this.headers.write(this.descriptors[id * 4]);
      usedEntries[slot * 2] = id;
      usedEntries[slot * 2 + 1] = length;
    }
    this.next = (this.next + count) & 0xffff;
    Atomics.store(this.used, INDEX, this.next);
    return count;
  }
}
