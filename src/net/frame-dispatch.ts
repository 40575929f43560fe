import { UsageError } from '../errors.js';
import type { PacketBuffer } from '../memory/packet-buffer.js';
import { describe, requireFields, requireSignal } from './arguments.js';
import { FrameStream } from './frame-stream.js';
import { guard } from './guard.js';
import type { ReceiveQueue } from './receive-queue.js';
import type { ReceiveDrops } from './statistics.js';

/** How to iterate over received frames. */
export interface FramesOptions {
  /** Frames that wait for the iteration at most, 256 by default; what comes beyond is dropped and counted. */
  readonly limit?: number;
  /** Ends the iteration with the signal's reason. */
  readonly signal?: AbortSignal;
}

const DEFAULT_STREAM_LIMIT = 256;

export interface FrameDispatchHooks {
  /** Emits a frame to listeners. */
  emit(packet: PacketBuffer): void;
  hasListeners(): boolean;
  /** An iteration began, or waits for a frame. */
  onWanted(): void;
}

/** Hands received frames to those who want them: listeners, then iterators. */
export class FrameDispatch {
  /** Whether a listener is running. */
  isDelivering = false;
  private readonly streams = new Set<FrameStream>();
  private readonly hooks: FrameDispatchHooks;

  constructor(hooks: FrameDispatchHooks) {
    this.hooks = hooks;
  }

  /** Whether anybody wants frames. */
  hasConsumers(): boolean {
    return this.streams.size > 0 || this.hooks.hasListeners();
  }

  /** Whether an iteration waits for a frame. */
  get isWaiting(): boolean {
    for (const stream of this.streams) if (stream.isWaiting) return true;
    return false;
  }

  /**
   * Begins an iteration as a program asks for it.
   *
   * @throws UsageError OPTION_INVALID; the signal's reason
   */
  openChecked(options: FramesOptions): FrameStream {
    requireFields('The iteration', options, ['limit', 'signal'] satisfies (keyof FramesOptions)[]);
    const { limit = DEFAULT_STREAM_LIMIT, signal } = options;
    if (!Number.isInteger(limit) || limit < 1) {
      throw new UsageError('OPTION_INVALID', `limit is ${describe(limit)}`, {
        remedy: 'Give a whole number above 0.',
      });
    }
    requireSignal(signal);
    signal?.throwIfAborted();
    return this.open(limit, signal);
  }

  /** Begins an iteration with a queue of `limit` frames. */
  open(limit: number, signal: AbortSignal | undefined): FrameStream {
    const stream = new FrameStream(
      limit,
      { onWait: () => this.hooks.onWanted(), onEnd: (ended) => this.streams.delete(ended) },
      signal,
    );
    this.streams.add(stream);
    this.hooks.onWanted();
    return stream;
  }

  /**
   * Takes up to `max` frames from the queue and lends them to all, one after another, for as long as anybody wants
   * them: what a listener for one frame leaves over stays with the queue, and a listener that calls `receive()` gets
   * the frame that comes next. Never throws.
   *
   * @returns how many were lent
   */
  deliverFrom(queue: ReceiveQueue, max: number): number {
    if (!this.hasConsumers()) return 0;
    queue.fetch(max);
    let lent = 0;
    while (lent < max && this.hasConsumers()) {
      const packet = queue.next();
      if (packet === undefined) break;
      this.deliver(packet, queue.drops);
      lent += 1;
    }
    return lent;
  }

  /** Lends a frame to all, then gives it back, unless one of them transmitted or released it. */
  private deliver(packet: PacketBuffer, drops: ReceiveDrops): void {
    const { lease } = packet;
    packet.lenders = 1;
    this.isDelivering = true;
    guard(() => this.hooks.emit(packet));
    this.isDelivering = false;
    if (!packet.isLeasedAs(lease)) return;
    for (const stream of this.streams) {
      if (!stream.push(packet)) drops.iteratorFull += 1;
    }
    packet.endLoan(lease);
  }

  /** Ends all iterations. */
  end(): void {
    for (const stream of this.streams) stream.end();
  }

  /** Ends all iterations with an error. */
  fail(error: Error): void {
    for (const stream of this.streams) stream.fail(error);
  }
}
