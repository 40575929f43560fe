/**
 * What goes on while the device runs: interrupts, polling, and those who wait.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { STATUS, type Transport } from '../transport/transport.js';
import type { FrameDispatch } from './frame-dispatch.js';
import { addStatus } from './initialisation.js';
import { QUEUES, type QueuePair } from './queue-pair.js';
import { ReceiveLoop } from './receive-loop.js';
import { Sender } from './sender.js';
import { InterruptCounters } from './statistics.js';

/** Frames that one `poll()` takes at most. */
const POLL_BURST = 32;

export interface DatapathOptions {
  readonly transport: Transport;
  readonly queues: QueuePair;
  readonly frames: FrameDispatch;
  /** Whether to wait for interrupts. */
  readonly interrupts: boolean;
  /** Frames that are handed on before the event loop gets a turn. */
  readonly budget: number;
  /** Looks at the configuration after an interrupt, and when polling. May throw. */
  lookAtConfig(): void;
  lookAtConfigNowAndThen(): void;
  /** Something threw, or a queue was found broken. */
  onFailure(error: Error): void;
}

export class Datapath {
  readonly sender: Sender;
  readonly interrupts = new InterruptCounters();
  private readonly options: DatapathOptions;
  private readonly loop: ReceiveLoop;
  private active = false;
  private polling = false;
  private pollTurn: NodeJS.Immediate | undefined;

  constructor(options: DatapathOptions) {
    const { queues, frames, budget } = options;
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

  /** Why one of the queues is out of use, if one is. */
  get broken(): Error | undefined {
    const { receive, transmit } = this.options.queues;
    return receive.broken ?? transmit.broken;
  }

  /** Enables the queues of a device that is past FEATURES_OK, and tells it to go (VIRTIO 1.3, 3.1.1, steps 7 and 8). */
  start(): void {
    const { transport, queues, interrupts } = this.options;
    if (interrupts) {
      transport.enableInterrupts(QUEUES, {
        queue: (queue) => this.protect(() => this.onQueueInterrupt(queue)),
        config: () => this.protect(() => this.onConfigInterrupt()),
      });
    }
    queues.enable(transport);
    addStatus(transport, STATUS.DRIVER_OK);
    this.active = true;
    queues.receive.notifier.notifyIfNeeded();
    if (this.broken !== undefined) throw this.broken;
    if (interrupts) this.loop.start();
    else if (this.options.frames.isWaiting) this.pollSoon();
  }

  /** Ends all activity of the driver. The device may still use its buffers. Calling it again does nothing. */
  halt(): void {
    this.active = false;
    this.loop.stop();
    clearImmediate(this.pollTurn);
    this.pollTurn = undefined;
    this.options.transport.disableInterrupts();
  }

  /**
   * Waits until the device has sent what it was given, for a bounded time.
   *
   * @param timeout - in milliseconds
   * @returns the number of frames that it has not sent by then
   */
  async drain(timeout: number): Promise<number> {
    const { transmit } = this.options.queues;
    const deadline = performance.now() + timeout;
    transmit.reclaim();
    while (transmit.ring.outstanding > 0 && this.broken === undefined && performance.now() < deadline) {
      await sleep(1);
      transmit.reclaim();
    }
    return transmit.ring.outstanding;
  }

  /** Somebody wants frames now. */
  onFramesWanted(): void {
    this.loop.resume();
    if (!this.options.interrupts && this.options.frames.isWaiting) this.pollSoon();
  }

  /** One turn by hand; see `NetDevice.poll()`. */
  poll(): number {
    const { queues, frames } = this.options;
    if (this.polling || frames.isDelivering) return 0;
    this.polling = true;
    try {
      if (this.options.interrupts) this.pumpSender();
      else this.sender.pump();
      const count = frames.deliverFrom(queues.receive, POLL_BURST);
      this.options.lookAtConfigNowAndThen();
      return count;
    } finally {
      this.polling = false;
    }
  }

  private onQueueInterrupt(queue: number): void {
    if (!this.active) return;
    const { receive, transmit } = this.options.queues;
    if (queue === receive.ring.index) {
      this.interrupts[receive.ring.hasUsed() ? 'receive' : 'spurious'] += 1;
      this.loop.wake();
    } else {
      this.interrupts[transmit.ring.hasUsed() ? 'transmit' : 'spurious'] += 1;
      this.pumpSender();
    }
    this.checkQueues();
  }

  private onConfigInterrupt(): void {
    if (!this.active) return;
    this.interrupts.config += 1;
    this.options.lookAtConfig();
  }

  /** Lets waiting calls go on, and asks for another interrupt if some still wait, or the pool is dry. */
  private pumpSender(): void {
    const { sender } = this;
    if (sender.isPumping) return;
    const { ring } = this.options.queues.transmit;
    ring.suppressInterrupts();
    sender.pump();
    while (this.needsSent && ring.outstanding > 0 && ring.requestInterrupt(sender.interruptAfter)) {
      if (sender.pump() === 0) break;
    }
  }

  /** Whether somebody waits for the device to finish frames. */
  private get needsSent(): boolean {
    return this.sender.isWaiting || this.options.queues.pool.isWanted;
  }

  private onTurnDone(): void {
    if (this.active && this.options.queues.pool.isWanted) this.pumpSender();
    this.checkQueues();
  }

  private onSenderWaits(): void {
    if (this.options.interrupts) this.pumpSender();
    else this.pollSoon();
    // The device may never interrupt for a queue that it broke.
    this.checkQueues();
  }

  /** Without interrupts nobody wakes those who wait: poll once per turn of the event loop while there are any. */
  private pollSoon(): void {
    if (this.pollTurn !== undefined || !this.active) return;
    this.pollTurn = setImmediate(() => {
      this.pollTurn = undefined;
      this.protect(() => this.poll());
      this.checkQueues();
      if (this.sender.isWaiting || this.options.frames.isWaiting) this.pollSoon();
    });
  }

  private onBuffersAvailable(): void {
    if (!this.active) return;
    const { interrupts, queues } = this.options;
    if (this.sender.isWaiting) this.onSenderWaits();
    queues.receive.refill();
    if (interrupts && queues.pool.isWanted) this.pumpSender();
    this.checkQueues();
  }

  private checkQueues(): void {
    if (this.active && this.broken !== undefined) this.options.onFailure(this.broken);
  }

  /** Runs what the event loop called: nobody else is there to catch an error. */
  private protect(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.options.onFailure(error as Error);
    }
  }
}
