/**
 * What goes on while the device runs: interrupts and polling, for all of its queue pairs and its configuration.
 */
import { QueueError } from '../errors.js';
import { STATUS, type Transport } from '../transport/transport.js';
import type { ControlSession } from './control/control-session.js';
import type { FrameDispatch } from './frame-dispatch.js';
import { addStatus } from './initialisation.js';
import { PairDatapath } from './pair-datapath.js';
import { QUEUES_PER_PAIR, type QueuePair } from './queue-pair.js';
import type { PairQueue } from './recovery-report.js';
import type { Lease } from './sharing/lease.js';
import type { Leases } from './sharing/leases.js';

/** Frames that one `poll()` takes from each pair at most. */
const POLL_BURST = 32;

export interface DatapathOptions {
  readonly transport: Transport;
  readonly queuePairs: readonly QueuePair[];
  readonly control: ControlSession;
  readonly frames: FrameDispatch;
  readonly leases: Leases;
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
  readonly pairs: readonly PairDatapath[];
  /** The pairs that this thread works at: those that are not lent to others. */
  own: readonly PairDatapath[];
  configInterrupts = 0;
  foreignInterrupts = 0;
  private readonly options: DatapathOptions;
  private active = false;
  private polling = false;
  private pollTurn: NodeJS.Immediate | undefined;

  constructor(options: DatapathOptions) {
    const { frames, interrupts, budget } = options;
    this.options = options;
    this.pairs = options.queuePairs.map(
      (queues) =>
        new PairDatapath(queues, {
          frames,
          interrupts,
          budget,
          pollSoon: () => this.pollSoon(),
          onBroken: (error) => options.onFailure(error),
        }),
    );
    this.own = this.pairs;
  }

  /** Lends a pair to another thread. The device must be at rest. */
  lend(lease: Lease): void {
    this.options.leases.add(lease);
    this.chooseOwn();
  }

  /**
   * Takes pairs back whose lease is over. The device must be at rest.
   *
   * @param onTaken - called if there were any, also where their memory can not be given back
   */
  takeBack(onTaken: () => void): void {
    this.options.leases.takeBack(() => {
      this.chooseOwn();
      onTaken();
    });
  }

  /** Why one of the queues is out of use, if one is. */
  get broken(): Error | undefined {
    for (const pair of this.own) {
      const { broken } = pair;
      if (broken !== undefined) return broken;
    }
    return undefined;
  }

  /**
   * Enables the queues of a device that is past FEATURES_OK, and tells it to go (VIRTIO 1.3, 3.1.1, steps 7 and 8).
   * What it interrupts for stays undone until {@link start}.
   */
  enable(): void {
    const { transport, control, interrupts, leases } = this.options;
    if (interrupts) {
      transport.enableInterrupts(this.pairs.length * QUEUES_PER_PAIR, {
        queue: (queue) => this.protect(() => this.onQueueInterrupt(queue)),
        config: () => this.protect(() => this.onConfigInterrupt()),
        eventFd: (queue) => leases.get(Math.floor(queue / QUEUES_PER_PAIR))?.eventFd(queue),
        spurious: () => void (this.foreignInterrupts += 1),
      });
    }
    for (const { queues } of this.pairs) {
      const lease = leases.get(queues.number);
      if (lease === undefined) queues.enable(transport);
      else lease.enable(transport);
    }
    control.enable();
    addStatus(transport, STATUS.DRIVER_OK);
    for (const { queues } of this.own) {
      queues.receive.notifier.notifyIfNeeded();
      if (queues.transmit.unfinished > 0) queues.transmit.notifier.notifyIfNeeded();
    }
    if (this.broken !== undefined) throw this.broken;
  }

  /** Begins to work, on a device that {@link enable} told to go. */
  start(): void {
    this.active = true;
    for (const pair of this.own) pair.start();
    this.options.leases.run();
    if (!this.options.interrupts && this.isWaitedFor) this.pollSoon();
  }

  /** Looks whether the device asks for a reset, and for changes, that it told of when nobody was listening yet. */
  lookAtConfig(): void {
    if (this.active) this.protect(() => this.options.lookAtConfig());
  }

  /** Ends all activity of the driver. The device may still use its buffers. Calling it again does nothing. */
  halt(): void {
    this.active = false;
    for (const pair of this.own) pair.halt();
    this.options.leases.halt();
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
    const deadline = performance.now() + timeout;
    const [left] = await Promise.all([
      Promise.all(this.own.map((pair) => pair.drain(deadline))),
      this.options.leases.settle(timeout),
    ]);
    return left.reduce((sum, frames) => sum + frames, 0);
  }

  /** Uses the first `count` pairs to send, and no other. */
  use(count: number): void {
    for (const pair of this.pairs) pair.use(pair.queues.number < count);
    this.options.leases.use(count);
  }

  /** The queue in which the device broke the protocol, if the error is about that. */
  queueBrokenBy(error: Error): PairQueue | undefined {
    if (!(error instanceof QueueError)) return undefined;
    for (const { queues } of this.own) {
      const { number: queuePair, receive, transmit } = queues;
      if (receive.broken === error) return { queuePair, direction: 'receive' };
      if (transmit.broken === error) return { queuePair, direction: 'transmit' };
    }
    return undefined;
  }

  /**
   * Leaves all queues alone until {@link start}, as long as the device is reset. What is sent meanwhile waits.
   *
   * @param keep - whether other threads are to keep what the device has not finished
   */
  pause(keep: boolean): void {
    for (const pair of this.own) {
      pair.pause('receive');
      pair.pause('transmit');
    }
    this.options.leases.pause(keep);
  }

  /** Rejects all calls that wait to send. */
  failSenders(error: Error): void {
    for (const { sender } of this.own) sender.fail(error);
    this.options.leases.stop();
  }

  /** Somebody wants frames now. */
  onFramesWanted(): void {
    for (const pair of this.own) pair.lookSoon();
    if (!this.options.interrupts && this.options.frames.isWaiting) this.pollSoon();
  }

  /** One turn by hand; see `NetDevice.poll()`. */
  poll(): number {
    if (this.polling || this.options.frames.isDelivering) return 0;
    this.polling = true;
    try {
      let count = 0;
      for (const pair of this.own) count += pair.poll(POLL_BURST);
      this.options.lookAtConfigNowAndThen();
      return count;
    } finally {
      this.polling = false;
    }
  }

  private onQueueInterrupt(queue: number): void {
    if (!this.active) return;
    const number = Math.floor(queue / QUEUES_PER_PAIR);
    const lease = this.options.leases.get(number);
    if (lease !== undefined) {
      lease.interrupt(queue);
      return;
    }
    const pair = this.pairs[number];
    if (queue === pair.queues.receive.ring.index) pair.onReceiveInterrupt();
    else pair.onTransmitInterrupt();
  }

  private onConfigInterrupt(): void {
    if (!this.active) return;
    this.configInterrupts += 1;
    this.options.lookAtConfig();
  }

  private chooseOwn(): void {
    this.own = this.pairs.filter(({ queues }) => this.options.leases.get(queues.number) === undefined);
  }

  private get isWaitedFor(): boolean {
    return this.options.frames.isWaiting || this.own.some(({ sender }) => sender.isWaiting);
  }

  /** Without interrupts nobody wakes those who wait: poll once per turn of the event loop while there are any. */
  private pollSoon(): void {
    if (this.pollTurn !== undefined || !this.active) return;
    this.pollTurn = setImmediate(() => {
      this.pollTurn = undefined;
      this.protect(() => this.poll());
      for (const pair of this.own) pair.checkQueues();
      if (this.isWaitedFor) this.pollSoon();
    });
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
