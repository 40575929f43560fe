import { QueueError } from '../errors.js';

/**
 * The parts of one buffer, in order: first those that the device reads, then those that it writes
 * (VIRTIO 1.3, 2.7.4.2). Made once, filled again and again.
 */
export class DescriptorChain {
  /** Device addresses and lengths in bytes of the parts; the first `count` entries are in use. */
  readonly lo: Uint32Array;
  readonly hi: Uint32Array;
  readonly lengths: Uint32Array;
  /** Number of parts. */
  count = 0;
  /** How many of the parts, from the first on, the device reads; it writes the others. */
  readable = 0;

  /** @param capacity - the most parts that it will hold */
  constructor(capacity: number) {
    this.lo = new Uint32Array(capacity);
    this.hi = new Uint32Array(capacity);
    this.lengths = new Uint32Array(capacity);
  }

  clear(): this {
    this.count = 0;
    this.readable = 0;
    return this;
  }

  /** Appends a part that the device reads. */
  addReadable(lo: number, hi: number, length: number): this {
    if (this.readable !== this.count) {
      throw invalid('A part that the device reads can not come after one that it writes');
    }
    this.append(lo, hi, length);
    this.readable = this.count;
    return this;
  }

  /** Appends a part that the device writes. */
  addWritable(lo: number, hi: number, length: number): this {
    this.append(lo, hi, length);
    return this;
  }

  /** Total length in bytes of the parts that the device writes. */
  get writableLength(): number {
    return sum(this.lengths, this.readable, this.count);
  }

  /** Total length in bytes. */
  get totalLength(): number {
    return sum(this.lengths, 0, this.count);
  }

  private append(lo: number, hi: number, length: number): void {
    if (this.count === this.lengths.length) {
      throw invalid(`The chain was made for ${this.count} parts at most`);
    }
    if (!(length >= 1 && length <= 0xffffffff)) {
      throw invalid(`A part can not be ${length} bytes long`);
    }
    this.lo[this.count] = lo;
    this.hi[this.count] = hi;
    this.lengths[this.count] = length;
    this.count += 1;
  }
}

/** Rings keep it in signed numbers. */
const LONGEST_WRITABLE = 2 ** 31 - 1;

/**
 * Checks that a queue can ever hold the chain.
 *
 * @throws QueueError QUEUE_CHAIN_INVALID
 */
export function checkChain(
  chain: DescriptorChain,
  queue: { readonly index: number; readonly size: number },
): void {
  const { count } = chain;
  if (count < 1 || count > queue.size) {
    throw new QueueError(
      'QUEUE_CHAIN_INVALID',
      `A chain of ${count} parts does not fit queue ${queue.index}`,
      {
        remedy: `Use 1 to ${queue.size} parts, the size of the queue (VIRTIO 1.3, 2.7.5.3.1).`,
      },
    );
  }
  if (chain.totalLength > 0xffffffff) {
    throw new QueueError('QUEUE_CHAIN_INVALID', `A chain of ${chain.totalLength} bytes is too long`, {
      remedy: 'A chain holds at most 4 GiB (VIRTIO 1.3, 2.7.5.2).',
    });
  }
  if (chain.writableLength > LONGEST_WRITABLE) {
    throw new QueueError(
      'QUEUE_CHAIN_INVALID',
      `A chain of which the device writes ${chain.writableLength} bytes is too long`,
      { remedy: 'Give it less than 2 GiB to write.' },
    );
  }
}

function sum(lengths: Uint32Array, from: number, to: number): number {
  let total = 0;
  for (let part = from; part < to; part += 1) total += lengths[part];
  return total;
}

function invalid(what: string): QueueError {
  return new QueueError('QUEUE_CHAIN_INVALID', what);
}
