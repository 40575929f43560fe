/** The interrupts of a modern PCI device: MSI-X vectors, and which event each of them stands for. */
import { DeviceError } from '../errors.js';
import type { PciFunction } from '../pci/pci-function.js';
import { NO_VECTOR, type CommonConfig } from './common-config.js';
import { planVectors, type VectorPlan } from './msix-plan.js';
import { GONE } from './removal.js';
import type { InterruptHandlers } from './transport.js';

/** One time of interrupts being on. A dispatch that is under way looks at `active` before each handler. */
interface Session {
  readonly plan: VectorPlan;
  /** How many queues have a vector, from 0 on. */
  readonly queues: number;
  active: boolean;
}

const POLL_INSTEAD = 'Open the device with { interrupts: false } and poll it, or give it MSI-X vectors.';

/** Turns the interrupts of a device on and off. */
export class PciInterrupts {
  readonly #function: PciFunction;
  readonly #common: CommonConfig;
  #session: Session | undefined;

  constructor(pciFunction: PciFunction, common: CommonConfig) {
    this.#function = pciFunction;
    this.#common = common;
  }

  /**
   * Maps the queue that is selected to its vector; to none while interrupts are off.
   *
   * @throws DeviceError DEVICE_VECTOR_REFUSED
   */
  mapSelectedQueue(queue: number): void {
    const session = this.#session;
    const vector = session !== undefined && queue < session.queues ? session.plan.queue(queue) : NO_VECTOR;
    // Without MSI-X there is nothing to map to, and what the register reads as is not specified.
    if (this.#function.msixVectors === 0) return;
    if (this.#common.mapQueueVector(vector)) return;
    throw new DeviceError(
      'DEVICE_VECTOR_REFUSED',
      `${this.#function.address} refused vector ${vector} for queue ${queue}`,
    );
  }

  /**
   * Turns MSI-X on and maps configuration changes to their vector. Replaces what was on before.
   *
   * @throws DeviceError DEVICE_VECTOR_REFUSED, with interrupts off
   */
  enable(queues: number, handlers: InterruptHandlers): void {
    this.disable();
    const available = this.#function.msixVectors;
    if (available === 0) {
      throw new DeviceError('DEVICE_VECTOR_REFUSED', `${this.#function.address} has no MSI-X vectors`, {
        remedy: POLL_INSTEAD,
      });
    }
    const session: Session = { plan: planVectors(available, queues), queues, active: true };
    this.#function.enableMsix(vectorHandlers(session, queues, handlers));
    this.#session = session;
    if (this.#mapConfig(session.plan.config)) return;
    this.disable();
    throw new DeviceError(
      'DEVICE_VECTOR_REFUSED',
      `${this.#function.address} refused vector ${session.plan.config} for configuration changes`,
    );
  }

  /** Stops calling handlers, at once and for good, while the device may still interrupt. */
  mute(): void {
    if (this.#session !== undefined) this.#session.active = false;
  }

  /** Unmaps configuration changes, if the device is still there, and turns MSI-X off. */
  disable(): void {
    if (this.#session === undefined) return;
    this.mute();
    this.#session = undefined;
    try {
      if (this.#common.deviceStatus !== GONE) this.#common.mapConfigVector(NO_VECTOR);
    } finally {
      this.#function.disableMsix();
    }
  }

  #mapConfig(vector: number): boolean {
    try {
      return this.#common.mapConfigVector(vector);
    } catch (error) {
      this.disable();
      throw error;
    }
  }
}

/** One handler for each vector, which calls what the vector stands for: configuration first, then queues. */
function vectorHandlers(session: Session, queues: number, handlers: InterruptHandlers): (() => void)[] {
  const { plan } = session;
  return Array.from({ length: plan.vectors }, (_, vector) => {
    const config = plan.config === vector;
    const own = Array.from({ length: queues }, (_, queue) => queue).filter((q) => plan.queue(q) === vector);
    return () => {
      if (config && session.active) handlers.config();
      for (const queue of own) if (session.active) handlers.queue(queue);
    };
  });
}
