/**
 * A queue pair that was lent to another thread, from the side of the device's own thread.
 *
 * It has memory of its own, for as long as it is lent. While the device runs, only the borrower touches that; while the
 * device is at rest, only this side does, and only after the borrower has said that it rests as well. A borrower that
 * does not say so in time has lost the pair: its memory is given up once the device was reset, and whatever the borrower
 * does to it then reaches nobody.
 */
import { MessageChannel, receiveMessageOnPort, threadId, type MessagePort } from 'node:worker_threads';
import { QueueError, UsageError } from '../../errors.js';
import type { Logger } from '../../log.js';
import type { SharedEvent, TransportSharing } from '../../transport/sharing.js';
import type { QueueAccess, Transport } from '../../transport/transport.js';
import { freeAll } from '../free-all.js';
import { QueuePair, QUEUES_PER_PAIR, type QueuePairOptions } from '../queue-pair.js';
import type { PairGate } from '../net-queue-pair.js';
import type { LostFrames } from '../recovery-report.js';
import type { QueuePairStatistics } from '../statistics.js';
import { ControlBlock, keepsFrames, REQUEST, type Request } from './control-block.js';
import { readCounters } from './counters.js';
import { LentMemory } from './lent-memory.js';
import type { DeviceMessage, PairMessage, SharedQueuePair } from './shared-queue-pair.js';

/** What a lease is made with. */
export interface LeaseParts {
  readonly transport: Transport;
  readonly sharing: TransportSharing;
  readonly log: Logger;
  /** The pair as this thread has it. */
  readonly own: QueuePair;
  readonly options: QueuePairOptions;
  readonly interrupts: boolean;
  readonly budget: number;
  /** In milliseconds. */
  readonly drainTimeout: number;
  /** Whether frames may be sent over the pair. */
  readonly used: boolean;
  onFailure(error: Error): void;
}

/**
 * How much longer than the frames of a pair its worker is waited for, in milliseconds: it has to get to its event loop,
 * whether or not frames are waited for.
 */
const GRACE_MS = 500;

export class Lease {
  /** What the other thread is given. */
  readonly handle: SharedQueuePair;
  private readonly parts: LeaseParts;
  private readonly queues: QueuePair;
  private readonly events: readonly SharedEvent[];
  /** By which the borrower notifies the device, where that is done by eventfds. */
  private readonly kicks: readonly SharedEvent[];
  private readonly block = new ControlBlock();
  private readonly port: MessagePort;
  /** Whether the borrower has the pair no more, or must not be counted on. */
  private over = false;
  /** The port is closed at both ends: the borrower polls no eventfd any more. */
  private gone = false;
  private used: boolean;
  private asked: Request = REQUEST.STOP;
  /** The request to run that holds. What the borrower says of an earlier run does not matter any more. */
  private runSince = 0;
  /** The request that the borrower has not answered. */
  private pending: number | undefined;
  private onAnswer: () => void = () => undefined;
  private lost: LostFrames;

  /** @throws DeviceError, MemoryError, VfioError, NativeError; nothing is left then */
  constructor(parts: LeaseParts) {
    const { transport, sharing, own, options } = parts;
    const { number } = own;
    const memory = new LentMemory(transport.memory, sharing);
    this.parts = parts;
    this.used = parts.used;
    this.lost = nothingLost(number);
    this.queues = QueuePair.create(accessTo(parts, memory), number, options);
    const events: SharedEvent[] = [];
    const kicks: SharedEvent[] = [];
    try {
      for (let queue = 0; queue < QUEUES_PER_PAIR; queue += 1) {
        const event = sharing.createEvent();
        if (event !== undefined) events.push(event);
        const kick = sharing.createKick?.();
        if (kick !== undefined) kicks.push(kick);
      }
      this.events = events;
      this.kicks = kicks;
      const { port1, port2 } = new MessageChannel();
      this.port = port1;
      this.handle = this.makeHandle(port2, memory);
    } catch (error) {
      this.queues.free();
      for (const event of [...events, ...kicks]) event.close();
      throw error;
    }
    this.block.counters[17] = this.queues.pool.size;
    this.block.counters[18] = this.queues.pool.size;
    this.port.on('close', () => this.onGone());
    this.port.on('message', (message: PairMessage) => this.onMessage(message));
    // What keeps a program running is the device.
    this.port.unref();
    this.ask(REQUEST.STOP);
  }

  get number(): number {
    return this.parts.own.number;
  }

  get isOver(): boolean {
    return this.over;
  }

  /** Tells the device where the rings lie, in their initial state. */
  enable(transport: Transport): void {
    const { receive, transmit } = this.queues;
    for (const { ring } of [receive, transmit]) {
      ring.reset(() => undefined);
      ring.suppressInterrupts();
      const kickFd = this.kicks[ring.index % QUEUES_PER_PAIR]?.fd;
      transport.enableQueue(ring.index, { ...ring.layout, kickFd });
    }
  }

  /** The device runs, and so may the borrower. */
  run(): void {
    if (this.over) return;
    const { receive, transmit } = this.queues;
    for (const [queue, { ring }] of [receive, transmit].entries()) {
      const doorbell = this.parts.sharing.doorbell(ring.index);
      this.block.setDoorbell(queue, doorbell);
    }
    this.ask(REQUEST.RUN);
    this.runSince = this.block.request;
  }

  /**
   * Has the borrower rest until the device was reset.
   *
   * @param keep - whether it is to go on with what the device has not finished
   */
  pause(keep: boolean): void {
    if (!this.over) this.ask(REQUEST.PAUSE, keep);
  }

  /** Has the borrower rest until the next start. */
  stop(): void {
    if (!this.over && this.asked !== REQUEST.STOP) this.ask(REQUEST.STOP);
  }

  /** Nothing is to be touched from now on; leaves a borrower alone that rests already. */
  halt(): void {
    if (!this.over && this.asked === REQUEST.RUN) this.ask(REQUEST.STOP);
  }

  use(used: boolean): void {
    if (used === this.used) return;
    this.used = used;
    if (!this.over) this.ask(this.asked, keepsFrames(this.block.request));
  }

  /**
   * Waits until the borrower has done what it was asked for. One that has not by then has lost the pair.
   *
   * @param timeout - in milliseconds
   */
  async settle(timeout: number): Promise<void> {
    if (this.pending === undefined || this.over) return;
    if (await this.waitFor(timeout, () => this.pending === undefined || this.over)) return;
    this.over = true;
    this.parts.log.warn({ queuePair: this.number }, 'worker did not let go of its queue pair in time');
    this.ask(REQUEST.END);
  }

  /** Ends it for good; waits for the borrower to have let go of the eventfds, if it has answered so far. */
  async end(timeout: number): Promise<void> {
    const answering = !this.over;
    this.ask(REQUEST.END);
    this.over = true;
    if (!this.block.isAttached) this.port.close();
    if (answering) await this.waitFor(timeout, () => this.gone);
  }

  /** An interrupt came for a queue that has no eventfd of its own. */
  interrupt(queue: number): void {
    // A worker that polls may never read messages: they must not pile up.
    if (!this.over && this.block.raiseInterrupt(queue % QUEUES_PER_PAIR)) {
      this.post({ kind: 'interrupt', queue });
    }
  }

  eventFd(queue: number): number | undefined {
    return this.gone ? undefined : this.events[queue % QUEUES_PER_PAIR]?.fd;
  }

  /** What the last reset of the device took from the borrower. */
  takeLost(): LostFrames {
    const { lost } = this;
    this.lost = nothingLost(this.number);
    return lost;
  }

  statistics(): QueuePairStatistics {
    return readCounters(this.block.counters);
  }

  /** Gives the memory back. The device must be at rest. */
  free(): void {
    freeAll([this.queues]);
  }

  private ask(what: Request, keep = false): void {
    this.asked = what;
    const request = this.block.ask(what, this.used, keep);
    // Who attaches after this sees it at once, and has nothing to let go of.
    this.pending = this.block.isAttached && !this.gone ? request : undefined;
    if (this.pending !== undefined) this.post({ kind: 'look' });
  }

  private post(message: DeviceMessage): void {
    this.port.postMessage(message);
  }

  private onMessage(message: PairMessage): void {
    if (message.kind === 'done') {
      const { receive, transmit } = message.lost;
      this.lost = {
        queuePair: this.number,
        receive: this.lost.receive + receive,
        transmit: this.lost.transmit + transmit,
      };
      if (message.request === this.pending) this.pending = undefined;
      this.onAnswer();
      return;
    }
    // The device may have been stopped since, or run anew.
    if (this.over || this.asked !== REQUEST.RUN || message.request < this.runSince) return;
    if (message.kind === 'failed') this.parts.onFailure(failed(this.number, message.message));
    else this.notify(message.queue, message.data);
  }

  private notify(queue: number, data: number | undefined): void {
    try {
      this.parts.sharing.notify(queue, data);
    } catch (error) {
      this.parts.onFailure(error as Error);
    }
  }

  private onGone(): void {
    this.gone = true;
    this.over = true;
    for (const event of [...this.events, ...this.kicks]) event.close();
    this.parts.log.info({ queuePair: this.number }, 'worker has let go of its queue pair');
    this.onAnswer();
  }

  /** Says whether it came true in time. */
  private async waitFor(timeout: number, isDone: () => boolean): Promise<boolean> {
    if (isDone()) return true;
    return new Promise((resolve) => {
      const expire = (): void => {
        // Where this thread was busy itself, the answer may have come long ago.
        for (let next = receiveMessageOnPort(this.port); next; next = receiveMessageOnPort(this.port)) {
          this.onMessage(next.message as PairMessage);
        }
        finish(isDone());
      };
      const finish = (done: boolean): void => {
        clearTimeout(timer);
        this.onAnswer = () => undefined;
        resolve(done);
      };
      const timer = setTimeout(expire, timeout + GRACE_MS);
      this.onAnswer = () => {
        if (isDone()) finish(true);
      };
    });
  }

  private makeHandle(port: MessagePort, memory: LentMemory): SharedQueuePair {
    const { transport, own, options, interrupts, budget, drainTimeout } = this.parts;
    const { number } = own;
    const { features, mtu, queueSize, poolSize, bufferSize } = options;
    const { queueCount, maxQueueSize } = accessTo(this.parts, memory);
    const first = number * QUEUES_PER_PAIR;
    return {
      number,
      port,
      transferList: [port],
      control: this.block.memory,
      setup: {
        device: transport.name,
        threadId,
        legacy: transport.legacy,
        featureBits: features.negotiatedBits,
        mtu,
        queueCount,
        queueSizes: [maxQueueSize(first), maxQueueSize(first + 1)],
        options: { queueSize, poolSize, bufferSize },
        interrupts,
        budget,
        drainTimeout,
        regions: memory.share(),
        ownAddresses: memory.hasOwnAddresses,
        eventFds: this.events.length === 0 ? undefined : this.events.map(({ fd }) => fd),
      },
    };
  }
}

/**
 * The transport, with other memory. The rings get the sizes of those that there are: a device that was reset, and not
 * negotiated with again, may know nothing of its further pairs.
 */
function accessTo({ transport, own }: LeaseParts, memory: LentMemory): QueueAccess {
  const sizes = [own.receive.ring.size, own.transmit.ring.size];
  return {
    name: transport.name,
    memory,
    legacy: transport.legacy,
    queueCount: (own.number + 1) * QUEUES_PER_PAIR,
    maxQueueSize: (queue) => sizes[queue % QUEUES_PER_PAIR],
    notify: () => undefined,
  };
}

function nothingLost(queuePair: number): LostFrames {
  return { queuePair, receive: 0, transmit: 0 };
}

function failed(number: number, message: string): QueueError {
  return new QueueError('QUEUE_BROKEN', `Queue pair ${number} failed in its worker: ${message}`);
}

/** Why a pair can not be used by the thread of the device. */
export function lentAway(number: number, device: string): UsageError {
  return new UsageError('QUEUE_PAIR_SHARED', `Queue pair ${number} of ${device} is lent to a worker thread`);
}

/** Says of a pair that is lent that this thread can not use it. */
export class LentGate implements PairGate {
  readonly state = 'lent';
  private readonly number: number;
  private readonly device: string;

  constructor(number: number, device: string) {
    this.number = number;
    this.device = device;
  }

  idle(): 0 {
    throw lentAway(this.number, this.device);
  }

  checkOpen(): void {
    this.idle();
  }

  throwIfBroken(): void {
    this.idle();
  }
}
