/** Notification coalescing: how long the interrupt of a queue may wait (VIRTIO 1.3, 5.1.6.5.9). */
import { later } from '../scheduling.js';

/** The parameters of a queue; with a 0 in either, every packet notifies at once. */
export interface CoalescingParameters {
  readonly maxPackets: number;
  readonly maxUsecs: number;
}

const AT_ONCE: CoalescingParameters = { maxPackets: 0, maxUsecs: 0 };

interface Waiting {
  packets: number;
}

export class Coalescing {
  readonly #raise: (queue: number) => void;
  readonly #ofQueue = new Map<number, CoalescingParameters>();
  readonly #waiting = new Map<number, Waiting>();
  /** What was set for all receive and all transmit queues. */
  readonly #ofKind: [receive: CoalescingParameters, transmit: CoalescingParameters] = [AT_ONCE, AT_ONCE];

  /** @param raise - sends the interrupt of a queue that was held back */
  constructor(raise: (queue: number) => void) {
    this.#raise = raise;
  }

  parametersOf(queue: number): CoalescingParameters {
    return this.#ofQueue.get(queue) ?? this.#ofKind[queue % 2];
  }

  /** Sets the parameters of all receive queues (0) or all transmit queues (1). */
  setKind(kind: 0 | 1, parameters: CoalescingParameters): void {
    this.#ofKind[kind] = parameters;
    for (const queue of [...this.#ofQueue.keys()]) if (queue % 2 === kind) this.#ofQueue.delete(queue);
    for (const queue of [...this.#waiting.keys()]) if (queue % 2 === kind) this.#lookAgain(queue);
  }

  setQueue(queue: number, parameters: CoalescingParameters): void {
    this.#ofQueue.set(queue, parameters);
    this.#lookAgain(queue);
  }

  /** The queue was disabled: once it is enabled again it has the parameters of its kind. */
  forget(queue: number): void {
    this.#ofQueue.delete(queue);
    this.#waiting.delete(queue);
  }

  /** The device is reset: nothing that waits is sent any more. */
  stop(): void {
    this.#waiting.clear();
  }

  /** Counts packets that the driver is to be told of; says whether that has to wait. */
  holds(queue: number, packets: number): boolean {
    const { maxPackets, maxUsecs } = this.parametersOf(queue);
    if (maxPackets === 0 || maxUsecs === 0) return false;
    const waiting = this.#waiting.get(queue) ?? this.#startWaiting(queue, maxUsecs);
    waiting.packets += packets;
    if (waiting.packets < maxPackets) return true;
    this.#waiting.delete(queue);
    return false;
  }

  #startWaiting(queue: number, maxUsecs: number): Waiting {
    const waiting = { packets: 0 };
    this.#waiting.set(queue, waiting);
    later(Math.max(1, Math.ceil(maxUsecs / 1000)), () => {
      if (this.#waiting.get(queue) === waiting) this.#finish(queue);
    });
    return waiting;
  }

  /** The conditions may be met by new parameters. */
  #lookAgain(queue: number): void {
    const waiting = this.#waiting.get(queue);
    const { maxPackets, maxUsecs } = this.parametersOf(queue);
    if (waiting !== undefined && (maxUsecs === 0 || waiting.packets >= maxPackets)) this.#finish(queue);
  }

  #finish(queue: number): void {
    this.#waiting.delete(queue);
    this.#raise(queue);
  }
}
