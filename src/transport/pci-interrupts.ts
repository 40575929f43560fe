/** The interrupts of a virtio device behind PCI: MSI-X vectors or INTx, and which event each of them stands for. */
import { DeviceError } from '../errors.js';
import type { Logger } from '../log.js';
import type { PciFunction, VectorTarget } from '../pci/pci-function.js';
import type { Presence } from './presence.js';
import type { InterruptHandlers } from './transport.js';
import { planVectors, vectorCounts, type VectorPlan } from './vector-plan.js';

/** Written to a vector register, unmaps the event; read from one, says that mapping failed. */
export const NO_VECTOR = 0xffff;

/** Bits of the ISR status (VIRTIO 1.3, 4.1.4.5). */
const ISR = { QUEUE: 1, CONFIG: 2 } as const;

/** The registers of a device that have to do with interrupts. */
export interface InterruptRegisters {
  /** MSI-X was turned on or off for the function. */
  noteMsix(on: boolean): void;
  /** Maps configuration changes to a vector; false where the device refused (4.1.5.1.2). */
  mapConfigVector(vector: number): boolean;
  selectQueue(queue: number): void;
  /** Maps the selected queue to a vector; false where the device refused. */
  mapQueueVector(vector: number): boolean;
  /** The ISR status. Reading clears it, and has the device take its INTx back. */
  readIsr(): number;
}

/** What a program may say about interrupts. */
export interface InterruptOptions {
  /** `auto` (the default) takes MSI-X, and INTx where the device has no vectors or can not map to any. */
  readonly interruptMode?: 'auto' | 'msix' | 'intx' | undefined;
  /** MSI-X vectors that are used at most. */
  readonly maxVectors?: number | undefined;
}

/** What interrupts are made of. */
export interface InterruptParts {
  readonly pciFunction: PciFunction;
  readonly registers: InterruptRegisters;
  readonly presence: Presence;
}

/** One time of interrupts being on. A dispatch that is under way looks at `active` before each handler. */
interface Session {
  readonly handlers: InterruptHandlers;
  /** How many queues get interrupts, from 0 on. */
  readonly queues: number;
  /** Undefined with INTx. */
  readonly plan: VectorPlan | undefined;
  active: boolean;
}

const POLL_INSTEAD = 'Open the device with { interrupts: false } and poll it, or give it MSI-X vectors.';

/** Turns the interrupts of a device on and off. */
export class PciInterrupts {
  readonly #function: PciFunction;
  readonly #registers: InterruptRegisters;
  readonly #options: InterruptOptions;
  readonly #presence: Presence;
  readonly #log: Logger;
  #session: Session | undefined;

  constructor(parts: InterruptParts, options: InterruptOptions & { readonly log: Logger }) {
    this.#function = parts.pciFunction;
    this.#registers = parts.registers;
    this.#presence = parts.presence;
    this.#options = options;
    this.#log = options.log;
  }

  /**
   * Maps the queue that is selected to its vector, or to none if it gets no interrupts.
   *
   * @throws DeviceError DEVICE_VECTOR_REFUSED
   */
  mapSelectedQueue(queue: number): void {
    const session = this.#session;
    // Without MSI-X there is nothing to map to, and what the register reads as is not specified.
    if (session?.plan === undefined) return;
    const vector = queue < session.queues ? session.plan.queue(queue) : NO_VECTOR;
    if (!this.#registers.mapQueueVector(vector)) throw this.#refused(vector, `queue ${queue}`);
  }

  /**
   * Turns interrupts on: with as many vectors as the events can use and the device and the kernel can give, down to
   * one for everything, else with INTx. Replaces what was on before.
   *
   * @throws DeviceError DEVICE_VECTOR_REFUSED; VfioError; with interrupts off
   */
  enable(queues: number, handlers: InterruptHandlers): void {
    this.disable();
    const { interruptMode = 'auto' } = this.#options;
    let failure: Error | undefined;
    for (const count of this.#vectorCounts(queues)) {
      try {
        this.#enableMsix({ handlers, queues, plan: planVectors(count, queues), active: true });
        return;
      } catch (error) {
        this.#presence.status();
        failure = error as Error;
        const bdf = this.#function.address;
        this.#log.warn({ bdf, vectors: count, err: error }, 'so many interrupt vectors can not be had');
      }
    }
    if (interruptMode === 'msix' || !this.#function.hasIntx) throw failure ?? this.#none(interruptMode);
    this.#enableIntx({ handlers, queues, plan: undefined, active: true });
  }

  /** Stops calling handlers, at once and for good, while the device may still interrupt. */
  mute(): void {
    if (this.#session !== undefined) this.#session.active = false;
  }

  /** Unmaps all events, if the device is still there, and turns interrupts off. */
  disable(): void {
    const session = this.#session;
    if (session === undefined) return;
    this.mute();
    this.#session = undefined;
    if (session.plan === undefined) {
      this.#function.disableIntx();
      return;
    }
    try {
      if (this.#presence.statusIfThere !== undefined) this.#unmap(session.queues);
    } finally {
      this.#turnMsixOff();
    }
  }

  #vectorCounts(queues: number): number[] {
    const { interruptMode, maxVectors = Infinity } = this.#options;
    if (interruptMode === 'intx') return [];
    return vectorCounts(Math.min(this.#function.msixVectors, maxVectors), queues);
  }

  /** Maps every event once, before any queue is enabled: so that a refusal shows while others can be tried. */
  #enableMsix(session: Session & { readonly plan: VectorPlan }): void {
    const { plan, queues } = session;
    this.#function.enableMsix(vectorTargets(session));
    try {
      this.#registers.noteMsix(true);
      this.#map(plan, queues);
    } catch (error) {
      session.active = false;
      this.#turnMsixOff();
      throw error;
    }
    this.#session = session;
  }

  #map(plan: VectorPlan, queues: number): void {
    if (!this.#registers.mapConfigVector(plan.config)) {
      throw this.#refused(plan.config, 'configuration changes');
    }
    for (let queue = 0; queue < queues; queue += 1) {
      this.#registers.selectQueue(queue);
      const vector = plan.queue(queue);
      if (!this.#registers.mapQueueVector(vector)) throw this.#refused(vector, `queue ${queue}`);
    }
  }

  #unmap(queues: number): void {
    this.#registers.mapConfigVector(NO_VECTOR);
    for (let queue = 0; queue < queues; queue += 1) {
      this.#registers.selectQueue(queue);
      this.#registers.mapQueueVector(NO_VECTOR);
    }
  }

  /** What the device was told to map is of no effect any more, and a reset unmaps it. */
  #turnMsixOff(): void {
    try {
      this.#function.disableMsix();
    } finally {
      this.#registers.noteMsix(false);
    }
  }

  #enableIntx(session: Session): void {
    this.#function.enableIntx(() => this.#onIntx(session));
    this.#session = session;
  }

  /** The ISR status is read once for each interrupt, muted or not: a line that stays up would interrupt on and on. */
  #onIntx(session: Session): void {
    const isr = this.#readIsr();
    const { handlers } = session;
    if ((isr & ISR.CONFIG) !== 0 && session.active) handlers.config();
    if ((isr & ISR.QUEUE) !== 0) callQueues(session, 0, session.queues);
    if ((isr & (ISR.QUEUE | ISR.CONFIG)) === 0 && session.active) handlers.spurious?.();
  }

  /** Nobody above could catch an error; the handlers meet the same one, and have somebody to tell. */
  #readIsr(): number {
    try {
      return this.#registers.readIsr();
    } catch (error) {
      this.#log.error({ bdf: this.#function.address, err: error }, 'the ISR status could not be read');
      return ISR.QUEUE | ISR.CONFIG;
    }
  }

  /** A device that has gone reads as refusing, too. */
  #refused(vector: number, event: string): DeviceError {
    this.#presence.status();
    return new DeviceError(
      'DEVICE_VECTOR_REFUSED',
      `${this.#function.address} refused vector ${vector} for ${event}`,
    );
  }

  #none(mode: 'auto' | 'msix' | 'intx'): DeviceError {
    const what = { auto: 'neither MSI-X vectors nor INTx', msix: 'no MSI-X vectors', intx: 'no INTx' };
    return new DeviceError('DEVICE_VECTOR_REFUSED', `${this.#function.address} has ${what[mode]}`, {
      remedy: POLL_INSTEAD,
    });
  }
}

/**
 * Where each vector goes: to a handler, which calls what the vector stands for, configuration first, then queues; or to
 * the eventfd of the one queue that it stands for.
 */
function vectorTargets(session: Session & { readonly plan: VectorPlan }): VectorTarget[] {
  const { plan, queues, handlers } = session;
  return Array.from({ length: plan.vectors }, (_, vector) => {
    const config = plan.config === vector;
    const own = Array.from({ length: queues }, (_, queue) => queue).filter((q) => plan.queue(q) === vector);
    const [first = 0] = own;
    const fd = !config && own.length === 1 ? handlers.eventFd?.(first) : undefined;
    if (fd !== undefined) return { fd };
    return () => {
      if (config && session.active) handlers.config();
      callQueues(session, first, first + own.length);
    };
  });
}

/** Neighbouring queues share a vector, so that those of one are a range. */
function callQueues(session: Session, from: number, to: number): void {
  for (let queue = from; queue < to; queue += 1) if (session.active) session.handlers.queue(queue);
}
