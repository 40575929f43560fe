import type { PacketBuffer } from '../memory/packet-buffer.js';

interface Waiter {
  resolve(result: IteratorResult<PacketBuffer, undefined>): void;
  reject(error: Error): void;
}

export interface FrameStreamHooks {
  /** Somebody waits for a frame. */
  onWait(): void;
  /** The stream takes no more frames. */
  onEnd(stream: FrameStream): void;
}

/**
 * Received frames as an async iterator, with a bounded queue in between.
 *
 * Each packet is lent until the next iteration, and given back then; `packet.retain()` keeps it longer.
 */
export class FrameStream implements AsyncIterableIterator<PacketBuffer> {
  /** Frames that were lost to this iterator because its queue was full. */
  dropped = 0;
  private readonly queue: PacketBuffer[] = [];
  private readonly waiters: Waiter[] = [];
  private readonly limit: number;
  private readonly hooks: FrameStreamHooks;
  private readonly signal: AbortSignal | undefined;
  private readonly onAbort = (): void => this.fail(this.signal?.reason as Error);
  /** Packets that were lent, more than one if several `next()` waited at once, and the lease of each. */
  private readonly lent: PacketBuffer[] = [];
  private readonly leases: number[] = [];
  private ended = false;
  /** Thrown once, by the next `next()`, after the stream has failed. */
  private failure: Error | undefined;

  /** @internal */
  constructor(limit: number, hooks: FrameStreamHooks, signal: AbortSignal | undefined) {
    this.limit = limit;
    this.hooks = hooks;
    this.signal = signal;
    signal?.addEventListener('abort', this.onAbort, { once: true });
  }

  /** Whether a `next()` is waiting. @internal */
  get isWaiting(): boolean {
    return this.waiters.length > 0;
  }

  /** Offers a packet; the stream retains it, or counts it as dropped. @internal */
  push(packet: PacketBuffer): boolean {
    const waiter = this.waiters.shift();
    if (waiter !== undefined) {
      waiter.resolve({ done: false, value: this.remember(packet.lend()) });
      return true;
    }
    if (this.queue.length >= this.limit) {
      this.dropped += 1;
      return false;
    }
    this.queue.push(packet.lend());
    return true;
  }

  next(): Promise<IteratorResult<PacketBuffer, undefined>> {
    this.takeBack();
    const packet = this.queue.shift();
    // After `close()` a packet is empty, and there is nothing to give back.
    if (packet !== undefined && packet.bytes.length > 0)
      return Promise.resolve({ done: false, value: this.remember(packet) });
    if (this.failure !== undefined) {
      const error = this.failure;
      this.failure = undefined;
      return Promise.reject(error);
    }
    if (this.ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => {
      this.waiters.push({ resolve, reject });
      this.hooks.onWait();
    });
  }

  return(): Promise<IteratorResult<PacketBuffer, undefined>> {
    this.end();
    this.dropQueue();
    this.takeBack();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Ends the stream; what is queued can still be read. @internal */
  end(): void {
    if (this.ended) return;
    this.ended = true;
    this.signal?.removeEventListener('abort', this.onAbort);
    for (const waiter of this.waiters.splice(0)) waiter.resolve({ done: true, value: undefined });
    this.hooks.onEnd(this);
  }

  /** Ends the stream with an error; what is queued is given back. @internal */
  fail(error: Error): void {
    if (this.ended) return;
    const first = this.waiters.shift();
    if (first === undefined) this.failure = error;
    else first.reject(error);
    this.dropQueue();
    this.end();
  }

  private remember(packet: PacketBuffer): PacketBuffer {
    this.lent.push(packet);
    this.leases.push(packet.lease);
    return packet;
  }

  /** Takes back what was lent, unless it was transmitted or released meanwhile. */
  private takeBack(): void {
    for (let i = 0; i < this.lent.length; i += 1) {
      this.lent[i].endLoan(this.leases[i]);
    }
    this.lent.length = 0;
    this.leases.length = 0;
  }

  private dropQueue(): void {
    for (const packet of this.queue.splice(0)) packet.endLoan(packet.lease);
  }
}
