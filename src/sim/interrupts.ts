/**
 * Interrupts: from the device's wish to the driver's handlers, as MSI-X vectors and eventfds carry them, or as the one
 * line of INTx does.
 */
import { DeviceError, UsageError } from '../errors.js';
import type { InterruptHandlers } from '../transport/transport.js';
import { later, soon } from './scheduling.js';

/** Longer than any program runs; the timer is there to be held, not to fire. */
const HOLD_INTERVAL = 2 ** 31 - 1;
/** The vector that stands for the configuration, and the two causes that the line is raised for. */
const CONFIG_VECTOR = 0;
const ISR_QUEUES = 1;
const ISR_CONFIG = 2;

/** What the device is built with. */
export interface InterruptOptions {
  /**
   * How many vectors there are; with fewer than one for each queue and the configuration, they are shared. With 0
   * there is a line alone, and a register that says whether it was for the queues or for the configuration.
   */
  readonly vectors: number;
  /** Whether the driver gets any interrupts at all. */
  readonly available: boolean;
  /** How long an interrupt takes, in milliseconds. */
  readonly delayMs: number;
}

export class Interrupts {
  readonly #options: InterruptOptions;
  readonly #mapped = new Set<number>();
  /** The vectors that were raised and not yet delivered: further interrupts join the first. */
  readonly #pending = new Set<number>();
  /** The interrupt status register, which the line goes with (VIRTIO 1.3, 4.1.4.5). */
  #isr = 0;
  #handlers: InterruptHandlers | undefined;
  #queues = 0;
  #configMapped = false;
  #generation = 0;
  #keepAlive = true;
  #hold: ReturnType<typeof setInterval> | undefined;

  constructor(options: InterruptOptions) {
    this.#options = options;
  }

  enable(queues: number, handlers: InterruptHandlers): void {
    if (!this.#options.available) {
      throw new DeviceError('DEVICE_VECTOR_REFUSED', 'The simulated device has no interrupts');
    }
    if (!Number.isInteger(queues) || queues < 0) {
      throw new UsageError('OPTION_INVALID', `Interrupts can not be enabled for ${queues} queues`);
    }
    this.#forgetPending();
    this.#handlers = handlers;
    this.#queues = queues;
    this.#configMapped = true;
    this.#updateHold();
  }

  disable(): void {
    this.#forgetPending();
    this.#handlers = undefined;
    this.#updateHold();
  }

  setKeepAlive(keepAlive: boolean): void {
    this.#keepAlive = keepAlive;
    this.#updateHold();
  }

  /** Maps an enabled queue to its vector, if interrupts are enabled for it. */
  mapQueue(queue: number): void {
    if (this.#handlers !== undefined && queue < this.#queues) this.#mapped.add(queue);
  }

  /** The queue was reset by itself. */
  unmapQueue(queue: number): void {
    this.#mapped.delete(queue);
  }

  /** The device was reset: nothing is mapped to a vector any more. What was sent still arrives. */
  unmapAll(): void {
    this.#mapped.clear();
    this.#configMapped = false;
  }

  /** Interrupts for a queue; false if it is not mapped to a vector, or interrupts are disabled. */
  raiseQueue(queue: number): boolean {
    return this.#mapped.has(queue) && this.#raise(this.#vectorOf(queue), ISR_QUEUES);
  }

  /** Interrupts for a change of the configuration; false if that has no vector, or interrupts are disabled. */
  raiseConfig(): boolean {
    return this.#configMapped && this.#raise(CONFIG_VECTOR, ISR_CONFIG);
  }

  /** Interrupts without a cause, as another device on the same line does; false if interrupts are disabled. */
  raiseSpurious(): boolean {
    return this.#raise(this.#vectorOf(0), 0);
  }

  /** The configuration has vector 0; the queues have one each behind it, or share one, or share that one. */
  #vectorOf(queue: number): number {
    const { vectors } = this.#options;
    if (vectors > this.#queues) return 1 + queue;
    return vectors <= 1 ? CONFIG_VECTOR : 1;
  }

  #raise(vector: number, cause: number): boolean {
    if (this.#handlers === undefined) return false;
    this.#isr |= cause;
    if (this.#pending.has(vector)) return true;
    this.#pending.add(vector);
    const generation = this.#generation;
    const deliver = (): void => {
      if (generation === this.#generation) this.#deliver(vector);
    };
    if (this.#options.delayMs > 0) later(this.#options.delayMs, deliver);
    else soon(deliver);
    return true;
  }

  #deliver(vector: number): void {
    this.#pending.delete(vector);
    const causes = this.#readCauses();
    const generation = this.#generation;
    const handlers = this.#handlers;
    if (causes === 0) handlers?.spurious?.();
    if (vector === CONFIG_VECTOR && (causes & ISR_CONFIG) !== 0) handlers?.config();
    if ((causes & ISR_QUEUES) === 0) return;
    for (let queue = 0; queue < this.#queues; queue++) {
      // A handler may have disabled the interrupts: no other runs after that.
      if (generation !== this.#generation) return;
      if (this.#vectorOf(queue) === vector) handlers?.queue(queue);
    }
  }

  /** Reading the register clears it. Who has vectors does not read it, and takes them to be for all that they serve. */
  #readCauses(): number {
    const causes = this.#options.vectors === 0 ? this.#isr : ISR_QUEUES | ISR_CONFIG;
    this.#isr = 0;
    return causes;
  }

  #forgetPending(): void {
    this.#generation++;
    this.#isr = 0;
    this.#pending.clear();
  }

  /** Waiting for an interrupt keeps a process alive, as an open eventfd does. */
  #updateHold(): void {
    const wanted = this.#keepAlive && this.#handlers !== undefined;
    if (wanted) {
      this.#hold ??= setInterval(() => undefined, HOLD_INTERVAL);
    } else {
      clearInterval(this.#hold);
      this.#hold = undefined;
    }
  }
}
