/**
 * What goes on while a queue pair runs: its interrupts, its turns of polling, and those who wait for it.
 *
 * All that a packet meets on its way belongs to the pair alone.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { UsageError } from '../errors.js';
import type { FrameDispatch } from './frame-dispatch.js';
import type { QueuePair } from './queue-pair.js';
import type { Direction } from './recovery-report.js';
import { ReceiveLoop } from './receive-loop.js';
import { Sender } from './sender.js';
import { QueueInterruptCounters } from './statistics.js';

export interface PairDatapathOptions {
  readonly frames: FrameDispatch;
  /** Whether to wait for interrupts. */
  readonly interrupts: boolean;
  /** Frames that are handed on before the event loop gets a turn. */
  readonly budget: number;
  /** Somebody waits, and no interrupt will come: poll soon. */
  pollSoon(): void;
  /** One of the queues is out of use. */
  onBroken(error: Error): void;
  /** Something was done on the event loop. */
  onTurnDone?(): void;
}

export class PairDatapath {
  readonly queues: QueuePair;
  readonly sender: Sender;
  readonly interrupts = new QueueInterruptCounters();
  private readonly options: PairDatapathOptions;
  private readonly loop: ReceiveLoop;
  private active = false;
  /** Buffers came back while waiting calls were going on: the receive ring gets those that are left over. */
  private refillDue = false;
  /** Whether frames may be sent: the device was told of the pair. */
  private used: boolean;

  constructor(queues: QueuePair, options: PairDatapathOptions) {
    const { frames, budget } = options;
    this.queues = queues;
    // A device uses the first pair until it is told of more (VIRTIO 1.3, 5.1.6.5.6).
    this.used = queues.number === 0;
    this.options = options;
    this.sender = new Sender(queues.transmit, queues.pool, { onWait: () => this.onSenderWaits() });
    this.loop = new ReceiveLoop(queues.receive, budget, {
      hasConsumers: () => frames.hasConsumers(),
      deliver: (max) => frames.deliverFrom(queues.receive, max),
      onTurnDone: () => this.onTurnDone(),
    });
    queues.pool.onAvailable = () => this.onBuffersAvailable();
    // Nothing else takes sent buffers back while nothing is sent, and reception must not run dry for want of them.
    // Those who wait for a buffer to send go first: the receive ring would take all that there are.
    queues.receive.reclaim = () => (this.active ? this.sender.pump() : 0);
  }

  /** Why one of the queues is out of use, if one is, and is not about to be reset. */
  get broken(): Error | undefined {
    return this.brokenIn('receive') ?? this.brokenIn('transmit');
  }

  /** Why the queue is out of use, if it is, and is not about to be reset. */
  brokenIn(direction: Direction): Error | undefined {
    const queue = this.queues[direction];
    return queue.paused ? undefined : queue.broken;
  }

  /** Whether frames may be sent over the pair. Where not, those who wait to send are told. */
  use(used: boolean): void {
    this.used = used;
    if (!used) this.sender.failFrames(this.unused());
  }

  /** @throws UsageError QUEUE_PAIR_UNUSED */
  checkUsed(): void {
    if (!this.used) throw this.unused();
  }

  /** Begins to work, on a device that was told to go. */
  start(): void {
    this.active = true;
    if (this.options.interrupts) this.loop.start();
    this.resume('receive');
    this.resume('transmit');
  }

  /** Leaves a queue alone until {@link resume}: it is to be reset. What is sent meanwhile waits. */
  pause(direction: Direction): void {
    this.queues[direction].paused = true;
  }

  isPaused(direction: Direction): boolean {
    return this.queues[direction].paused;
  }

  /** Goes on with a queue that is as new. */
  resume(direction: Direction): void {
    this.queues[direction].paused = false;
    if (direction === 'receive') this.lookSoon();
    else if (this.sender.isWaiting) this.onSenderWaits();
  }

  /** Ends all activity of the driver. The device may still use its buffers. */
  halt(): void {
    this.active = false;
    this.loop.stop();
  }

  /**
   * Waits until the device has sent what it was given.
   *
   * @param deadline - until when, on the clock of `performance.now()`
   * @returns the number of frames that it has not sent by then
   */
  async drain(deadline: number): Promise<number> {
    const { transmit } = this.queues;
    transmit.reclaim();
    while (transmit.ring.outstanding > 0 && this.broken === undefined && performance.now() < deadline) {
      await sleep(1);
      transmit.reclaim();
    }
    return transmit.ring.outstanding;
  }

  /** Looks for frames soon: somebody wants them now. */
  lookSoon(): void {
    this.loop.resume();
  }

  onReceiveInterrupt(): void {
    if (!this.active) return;
    this.interrupts[this.queues.receive.ring.hasUsed() ? 'receive' : 'spurious'] += 1;
    this.loop.wake();
    this.checkQueues();
  }

  onTransmitInterrupt(): void {
    if (!this.active) return;
    this.interrupts[this.queues.transmit.ring.hasUsed() ? 'transmit' : 'spurious'] += 1;
    this.pumpSender();
    this.checkQueues();
  }

  /** One turn by hand: hands on up to `max` frames; says how many. */
  poll(max: number): number {
    if (this.options.interrupts) this.pumpSender();
    else this.pump();
    return this.options.frames.deliverFrom(this.queues.receive, max);
  }

  /** Takes back what the device has finished, so that the counters tell of it. Otherwise that waits until it is needed. */
  settle(): void {
    if (this.active && !this.queues.transmit.paused) this.pump();
  }

  /** Looks whether a queue broke, and tells. */
  checkQueues(): void {
    if (!this.active) return;
    this.options.onTurnDone?.();
    const { broken } = this;
    if (broken !== undefined) this.options.onBroken(broken);
  }

  /** Lets waiting calls go on, and asks for another interrupt if some still wait, or the pool is dry. */
  private pumpSender(): void {
    const { sender } = this;
    const { ring, paused } = this.queues.transmit;
    if (sender.isPumping || paused) return;
    ring.suppressInterrupts();
    this.pump();
    while (this.needsSent && ring.outstanding > 0 && ring.requestInterrupt(sender.interruptAfter)) {
      if (this.pump() === 0) break;
    }
  }

  private pump(): number {
    const reclaimed = this.sender.pump();
    if (!this.refillDue || this.sender.isPumping) return reclaimed;
    this.refillDue = false;
    this.queues.receive.refill();
    return reclaimed;
  }

  /** Whether somebody waits for the device to finish frames. */
  private get needsSent(): boolean {
    return this.sender.isWaiting || this.queues.pool.isWanted;
  }

  private unused(): UsageError {
    return new UsageError('QUEUE_PAIR_UNUSED', `Queue pair ${this.queues.number} is open, but not in use`);
  }

  private onTurnDone(): void {
    if (this.active && this.queues.pool.isWanted) this.pumpSender();
    this.checkQueues();
  }

  private onSenderWaits(): void {
    if (!this.active) return;
    if (this.options.interrupts) this.pumpSender();
    else this.options.pollSoon();
    // The device may never interrupt for a queue that it broke.
    this.checkQueues();
  }

  private onBuffersAvailable(): void {
    if (!this.active) return;
    const { queues } = this;
    // As above: those who wait to send are about to go on with what comes back now.
    if (this.sender.isPumping) {
      this.refillDue = true;
      return;
    }
    if (this.sender.isWaiting) this.onSenderWaits();
    queues.receive.refill();
    if (this.options.interrupts && queues.pool.isWanted) this.pumpSender();
    this.checkQueues();
  }
}
