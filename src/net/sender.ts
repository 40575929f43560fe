/**
 * Sending with waiting: what does not fit the ring at once waits its turn, in order, until the device has made room.
 */
import { UsageError } from '../errors.js';
import { PacketBuffer } from '../memory/packet-buffer.js';
import type { PacketPool } from '../memory/packet-pool.js';
import type { TransmitQueue } from './transmit-queue.js';

interface WaitingFrame {
  readonly frame: Uint8Array | PacketBuffer;
  resolve(): void;
  reject(error: Error): void;
}

interface WaitingFlush {
  resolve(): void;
  reject(error: Error): void;
}

export interface SenderHooks {
  /** Somebody waits: `pump()` must be called when the device has finished frames. */
  onWait(): void;
}

export class Sender {
  private readonly queue: TransmitQueue;
  private readonly pool: PacketPool;
  private readonly hooks: SenderHooks;
  private readonly frames: WaitingFrame[] = [];
  private readonly flushes: WaitingFlush[] = [];
  private readonly single: PacketBuffer[] = [];

  constructor(queue: TransmitQueue, pool: PacketPool, hooks: SenderHooks) {
    this.queue = queue;
    this.pool = pool;
    this.hooks = hooks;
  }

  /** Whether somebody waits for the device. */
  get isWaiting(): boolean {
    return this.frames.length > 0 || this.flushes.length > 0;
  }

  /**
   * Hands a frame to the device, at once if there is room.
   *
   * @returns a promise that settles when the driver has taken the frame over
   */
  async send(frame: Uint8Array | PacketBuffer, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    if (!(frame instanceof PacketBuffer)) this.queue.checkFrame(frame);
    if (this.frames.length === 0 && this.trySend(frame)) return;
    // With nothing on its way back from the device, waiting might be for ever.
    if (this.queue.ring.outstanding === 0) throw poolExhausted(this.pool);
    await this.wait(signal, (resolve, reject) => {
      const waiting = { frame, resolve, reject };
      this.frames.push(waiting);
      return () => remove(this.frames, waiting);
    });
  }

  /** Waits until the device has finished all frames that were handed over. */
  async flush(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    this.queue.reclaim();
    if (this.frames.length === 0 && this.queue.ring.outstanding === 0) return;
    await this.wait(signal, (resolve, reject) => {
      const waiting = { resolve, reject };
      this.flushes.push(waiting);
      return () => remove(this.flushes, waiting);
    });
  }

  /** Goes on after the device has finished frames; says how many those were. */
  pump(): number {
    const reclaimed = this.queue.reclaim();
    while (this.frames.length > 0 && this.settleFirst());
    if (this.frames.length === 0 && this.queue.ring.outstanding === 0) {
      for (const flush of this.flushes.splice(0)) flush.resolve();
    }
    return reclaimed;
  }

  /**
   * After how many finished frames to look again: for a waiting frame, when half of the ring is free.
   */
  get interruptAfter(): number {
    const { outstanding } = this.queue.ring;
    return Math.max(1, this.frames.length > 0 ? outstanding >> 1 : outstanding);
  }

  /** Ends all waiting with an error. */
  fail(error: Error): void {
    for (const waiting of this.frames.splice(0)) waiting.reject(error);
    for (const waiting of this.flushes.splice(0)) waiting.reject(error);
  }

  /** Sends the first waiting frame; says whether that is settled, so that the next one may try. */
  private settleFirst(): boolean {
    const first = this.frames[0];
    try {
      if (!this.trySend(first.frame)) return false;
      first.resolve();
    } catch (error) {
      first.reject(error as Error);
    }
    this.frames.shift();
    return true;
  }

  /** Hands one frame over, if there is a buffer and room for it. */
  private trySend(frame: Uint8Array | PacketBuffer): boolean {
    if (frame instanceof PacketBuffer) return this.transmit(frame);
    const packet = this.pool.take();
    if (packet === undefined) {
      this.pool.wakeWhenAvailable();
      return false;
    }
    try {
      if (this.transmit(packet.setFrame(frame))) return true;
    } catch (error) {
      packet.release();
      throw error;
    }
    packet.release();
    return false;
  }

  private transmit(packet: PacketBuffer): boolean {
    this.single[0] = packet;
    return this.queue.transmit(this.single, 1) === 1;
  }

  private async wait(
    signal: AbortSignal | undefined,
    enqueue: (resolve: () => void, reject: (error: Error) => void) => () => void,
  ): Promise<void> {
    let onAbort: (() => void) | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        const dequeue = enqueue(resolve, reject);
        onAbort = () => {
          dequeue();
          reject(signal?.reason as Error);
        };
        signal?.addEventListener('abort', onAbort, { once: true });
        this.hooks.onWait();
      });
    } finally {
      if (onAbort !== undefined) signal?.removeEventListener('abort', onAbort);
    }
  }
}

function remove<T>(list: T[], entry: T): void {
  const at = list.indexOf(entry);
  if (at >= 0) list.splice(at, 1);
}

/** The error for a pool without a free buffer. */
export function poolExhausted(pool: PacketPool): UsageError {
  return new UsageError('POOL_EXHAUSTED', `None of the ${pool.size} packet buffers is free`);
}
