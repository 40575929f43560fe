import type { PacketBuffer } from '../memory/packet-buffer.js';
import { FrameStream } from './frame-stream.js';
import { guard } from './guard.js';
import type { ReceiveDrops } from './statistics.js';

export interface FrameDispatchHooks {
  /** Emits a frame to listeners; says whether there were any. */
  emit(packet: PacketBuffer): boolean;
  hasListeners(): boolean;
  /** An iteration began, or waits for a frame. */
  onWanted(): void;
}

/** Hands received frames to those who want them: listeners, then iterators. */
export class FrameDispatch {
  /** Whether a listener is running. */
  isDelivering = false;
  private readonly streams = new Set<FrameStream>();
  private readonly drops: ReceiveDrops;
  private readonly hooks: FrameDispatchHooks;

  constructor(drops: ReceiveDrops, hooks: FrameDispatchHooks) {
    this.drops = drops;
    this.hooks = hooks;
  }

  /** Whether anybody wants frames. */
  get hasConsumers(): boolean {
    return this.streams.size > 0 || this.hooks.hasListeners();
  }

  /** Whether an iteration waits for a frame. */
  get isWaiting(): boolean {
    for (const stream of this.streams) if (stream.isWaiting) return true;
    return false;
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

  /** Lends a frame to all, then gives it back, unless one of them transmitted or released it. Never throws. */
  deliver(packet: PacketBuffer): void {
    const { lease } = packet;
    packet.lenders = 1;
    this.isDelivering = true;
    const listened = guard(() => this.hooks.emit(packet)) ?? true;
    this.isDelivering = false;
    if (!packet.isLeasedAs(lease)) return;
    if (!listened && this.streams.size === 0) this.drops.unread += 1;
    for (const stream of this.streams) {
      if (!stream.push(packet)) this.drops.iteratorFull += 1;
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
