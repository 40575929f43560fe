/** The device's side of a packed ring whose buffers are one descriptor each (VIRTIO 1.3, 2.8). */
import type { QueueLayout } from 'virtio-net';
import type { ModelMemory } from './memory.js';
import { HeaderWriter, type ModelQueue } from './queue.js';

const AVAILABLE = 1 << 7;
const USED = 1 << 15;
/** 16-bit words of a descriptor, and where its flags lie among them. */
const WORDS = 8;
const FLAGS = 7;
/** The word of an event suppression structure with its flags, and what they say for none. */
const EVENT_FLAGS = 1;
const EVENTS_DISABLED = 1;

export class PackedModelQueue implements ModelQueue {
  private readonly size: number;
  private readonly words32: Uint32Array;
  private readonly words16: Uint16Array;
  private readonly headers: HeaderWriter;
  private next = 0;
  private wrap = true;

  constructor(memory: ModelMemory, { size, descriptorArea, deviceArea }: QueueLayout) {
    const { buffer, base } = memory.regionAt(descriptorArea.lo);
    this.size = size;
    this.words32 = new Uint32Array(buffer, descriptorArea.lo - base, size * 4);
    this.words16 = new Uint16Array(buffer, descriptorArea.lo - base, size * WORDS);
    this.headers = new HeaderWriter(memory);
    // As a backend that polls its rings.
    new Uint16Array(buffer, deviceArea.lo - base, 2)[EVENT_FLAGS] = EVENTS_DISABLED;
  }

  finish(most: number, length: number): number {
    const { words16, words32 } = this;
    let count = 0;
    while (count < most) {
      const at = this.next;
      const flags = Atomics.load(words16, at * WORDS + FLAGS);
      if ((flags & (AVAILABLE | USED)) !== (this.wrap ? AVAILABLE : USED)) break;
      if (length > 0) this.headers.write(words32[at * 4]);
      words32[at * 4 + 2] = length;
      Atomics.store(words16, at * WORDS + FLAGS, this.wrap ? AVAILABLE | USED : 0);
      this.advance();
      count += 1;
    }
    return count;
  }

  private advance(): void {
    this.next += 1;
    if (this.next < this.size) return;
    this.next = 0;
    this.wrap = !this.wrap;
  }
}
