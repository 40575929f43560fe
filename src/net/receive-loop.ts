import type { ReceiveQueue } from './receive-queue.js';

export interface ReceiveLoopHooks {
  /** Whether anybody wants frames; while nobody does, they stay in the ring. */
  hasConsumers(): boolean;
  /** Takes up to `max` frames from the queue and hands them on; says how many. Must not throw. */
  deliver(max: number): number;
  /** All frames of a turn were handed on: looks whether the queue broke, or ran out of buffers. */
  onTurnDone(): void;
}

/**
 * The interrupt path of reception: on a wake-up, drain within a budget, give the event loop a turn where the
 * budget ran out, re-arm, look once more, wait.
 */
export class ReceiveLoop {
  private readonly queue: ReceiveQueue;
  private readonly hooks: ReceiveLoopHooks;
  private readonly budget: number;
  private active = false;
  private turn: NodeJS.Immediate | undefined;

  /** @param budget - frames that are handed on before the event loop gets a turn */
  constructor(queue: ReceiveQueue, budget: number, hooks: ReceiveLoopHooks) {
    this.queue = queue;
    this.budget = budget;
    this.hooks = hooks;
  }

  start(): void {
    this.active = true;
    this.resume();
  }

  stop(): void {
    this.active = false;
    clearImmediate(this.turn);
    this.turn = undefined;
  }

  /** Looks for frames soon: somebody wants them now, or some may have come unnoticed. */
  resume(): void {
    if (!this.active || this.turn !== undefined) return;
    this.turn = setImmediate(() => {
      this.turn = undefined;
      this.run();
    });
  }

  /** To be called on an interrupt. */
  wake(): void {
    if (this.active && this.turn === undefined) this.run();
  }

  private run(): void {
    const { queue, hooks } = this;
    if (queue.paused) return;
    queue.ring.suppressInterrupts();
    if (!hooks.hasConsumers()) return;
    const count = hooks.deliver(this.budget);
    hooks.onTurnDone();
    // A listener may have stopped the device meanwhile.
    if (!this.active) return;
    if (count === this.budget || queue.ring.requestInterrupt()) this.resume();
  }
}
