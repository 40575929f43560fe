/**
 * Sending with waiting: what does not fit the ring at once waits its turn, in order, until the device has made room.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { UsageError } from '../errors.js';
import { PacketBuffer } from '../memory/packet-buffer.js';
import { OWNED_BY_USER, OWNED_TOGETHER } from '../memory/packet-constants.js';
import type { PacketPool } from '../memory/packet-pool.js';
import { requireSignal } from './arguments.js';
import { AbortWatch } from './abort-watch.js';
import { takeFilled } from './take-filled.js';
import type { TransmitQueue } from './transmit-queue.js';

/** Frames that are taken at once before the event loop gets a turn: a loop of sends must not starve reception. */
const SENDS_PER_TURN = 64;

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
  private readonly aborts = new AbortWatch();
  /** Whether `pump()` is under way: it does all the work that there is, so no second one is needed meanwhile. */
  isPumping = false;
  private sentSinceTurn = 0;

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
   * Hands a frame to the device, at once if there is room. A packet that has to wait is retained meanwhile, so that
   * one that is only lent stays what it is until its turn comes.
   *
   * @returns a promise that settles when the driver has taken the frame over
   */
  async send(frame: Uint8Array | PacketBuffer, signal: AbortSignal | undefined): Promise<void> {
    requireSignal(signal);
    signal?.throwIfAborted();
    if (frame instanceof PacketBuffer) this.queue.checkPacket(frame);
    else this.queue.checkFrame(frame);
    if (this.frames.length === 0 && this.trySend(frame)) return this.giveTurn();
    if (this.isVain) throw poolExhausted(this.pool);
    const held = frame instanceof PacketBuffer ? frame.retain() : undefined;
    try {
      await this.waitForTurn(frame, signal);
    } catch (error) {
      // Back to whom it belongs; or to the pool, where a lender has let go of it.
      held?.release();
      throw error;
    }
  }

  /** Waits until the device has finished all frames that were handed over. */
  async flush(signal: AbortSignal | undefined): Promise<void> {
    requireSignal(signal);
    signal?.throwIfAborted();
    this.queue.reclaim();
    if (this.frames.length === 0 && this.queue.unfinished === 0) return;
    await this.wait(signal, (resolve, reject) => {
      const waiting = { resolve, reject };
      this.flushes.push(waiting);
      return () => remove(this.flushes, waiting);
    });
  }

  /** Goes on after the device has finished frames; says how many those were. */
  pump(): number {
    if (this.isPumping) return 0;
    this.isPumping = true;
    try {
      const reclaimed = this.queue.reclaim();
      while (this.frames.length > 0 && (this.settleFirst() || this.failFirst()));
      if (this.frames.length === 0 && this.queue.unfinished === 0) {
        for (const flush of this.flushes.splice(0)) flush.resolve();
      }
      return reclaimed;
    } finally {
      this.isPumping = false;
    }
  }

  /**
   * After how many finished frames to look again: for a waiting frame or a dry pool, when half of them are.
   */
  get interruptAfter(): number {
    const { outstanding } = this.queue.ring;
    const half = this.frames.length > 0 || this.pool.isWanted;
    return Math.max(1, half ? outstanding >> 1 : outstanding);
  }

  /** Ends all waiting with an error. */
  fail(error: Error): void {
    this.failFrames(error);
    this.failFlushes(error);
  }

  /** Ends the waiting of frames that will never be sent with an error. */
  failFrames(error: Error): void {
    for (const waiting of this.frames.splice(0)) waiting.reject(error);
  }

  /** Ends the waiting for frames that will never be finished with an error; frames that wait to be sent still do. */
  failFlushes(error: Error): void {
    for (const waiting of this.flushes.splice(0)) waiting.reject(error);
  }

  /** Whether waiting for a buffer might be for ever: nothing is on its way back from the device. */
  private get isVain(): boolean {
    return this.queue.unfinished === 0 && !this.queue.paused && this.queue.broken === undefined;
  }

  /** Ends the waiting of the first frame where it is in vain; says whether it is, so that the next one may try. */
  private failFirst(): boolean {
    if (!this.isVain) return false;
    this.frames.shift()?.reject(poolExhausted(this.pool));
    return true;
  }

  /** Sends the first waiting frame; says whether that is settled, so that the next one may try. */
  private settleFirst(): boolean {
    const first = this.frames[0];
    const { frame } = first;
    try {
      if (!(frame instanceof PacketBuffer ? this.transmitHeld(frame) : this.trySend(frame))) return false;
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
    const packet = takeFilled(this.pool, frame);
    if (packet === undefined) {
      this.pool.wakeWhenAvailable();
      return false;
    }
    let sent = false;
    try {
      sent = this.transmit(packet);
    } finally {
      if (!sent) packet.release();
    }
    return sent;
  }

  /** Hands a packet over that was retained when its waiting began. Whoever lent it may have let go of it since. */
  private transmitHeld(packet: PacketBuffer): boolean {
    const { references, owner } = packet;
    let sent = false;
    packet.references = Math.max(1, references - 1);
    if (packet.references === 1 && owner === OWNED_TOGETHER) packet.owner = OWNED_BY_USER;
    try {
      sent = this.transmit(packet);
    } finally {
      if (!sent) {
        packet.references = references;
        packet.owner = owner;
      }
    }
    return sent;
  }

  private transmit(packet: PacketBuffer): boolean {
    // A burst does this only where it is short of descriptors; here it tells whether the device still keeps to the rules.
    this.queue.reclaim();
    this.single[0] = packet;
    return this.queue.transmit(this.single, 1) === 1;
  }

  private async giveTurn(): Promise<void> {
    this.sentSinceTurn += 1;
    if (this.sentSinceTurn < SENDS_PER_TURN) return;
    this.sentSinceTurn = 0;
    await nextTurn();
  }

  private waitForTurn(frame: Uint8Array | PacketBuffer, signal: AbortSignal | undefined): Promise<void> {
    return this.wait(signal, (resolve, reject) => {
      const waiting = { frame, resolve, reject };
      this.frames.push(waiting);
      return () => remove(this.frames, waiting);
    });
  }

  private async wait(
    signal: AbortSignal | undefined,
    enqueue: (resolve: () => void, reject: (error: Error) => void) => () => void,
  ): Promise<void> {
    let unwatch: (() => void) | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        const dequeue = enqueue(resolve, reject);
        if (signal !== undefined) {
          unwatch = this.aborts.add(signal, () => {
            dequeue();
            reject(signal.reason as Error);
          });
        }
        this.hooks.onWait();
      });
    } finally {
      unwatch?.();
    }
  }
}

function remove<T>(list: T[], entry: T): void {
  const at = list.indexOf(entry);
  if (at >= 0) list.splice(at, 1);
}

/** The error for a pool without a free buffer, or with too few for a frame that takes several. */
export function poolExhausted({ size, available }: PacketPool): UsageError {
  const free =
    available === 0
      ? `None of the ${size} packet buffers is free`
      : `Only ${available} of the ${size} packet buffers are free, too few for the frame`;
  return new UsageError('POOL_EXHAUSTED', free);
}
