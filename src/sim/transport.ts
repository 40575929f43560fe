/** The transport that leads to a simulated device. */
import { UsageError } from '../errors.js';
import type { DmaMemory } from '../memory/dma.js';
import type { AccessWidth, InterruptHandlers, QueueLayout, Transport } from '../transport/transport.js';
import type { DeviceCore } from './core.js';
import { DriverViolation } from './violation.js';

export class SimulatedTransport implements Transport {
  readonly kind = 'simulated';
  readonly legacy = false;
  readonly #core: DeviceCore;
  readonly #onClose: () => void;
  #closed = false;

  constructor(core: DeviceCore, onClose: () => void) {
    this.#core = core;
    this.#onClose = onClose;
  }

  get name(): string {
    return this.#core.options.name;
  }

  get memory(): DmaMemory {
    return this.#core.parts.memory;
  }

  get queueCount(): number {
    return this.#core.options.queueCount;
  }

  get configLength(): number {
    return this.#core.parts.config.length;
  }

  readStatus(): number {
    return this.#open().status;
  }

  writeStatus(status: number): void {
    this.#open().writeStatus(status);
  }

  readDeviceFeatures(): bigint {
    return this.#open().options.offered;
  }

  writeDriverFeatures(features: bigint): void {
    this.#open().writeDriverFeatures(features);
  }

  maxQueueSize(queue: number): number {
    const { options, maxQueueSize } = this.#open();
    return queue >= 0 && queue < options.queueCount ? maxQueueSize : 0;
  }

  enableQueue(queue: number, layout: QueueLayout): void {
    this.#open().enableQueue(queue, layout);
  }

  notify(queue: number, data?: number): void {
    this.#open().notify(queue, data);
  }

  resetQueue(queue: number): Promise<void> {
    return Promise.reject(
      new UsageError('FEATURE_NOT_NEGOTIATED', `Queue ${queue} of ${this.name} can not be reset alone`),
    );
  }

  /** A field that is not there reads as 0, after the violation was recorded. */
  readConfig(offset: number, width: AccessWidth): number {
    const core = this.#open();
    return core.guard(() => core.parts.config.read(offset, width)) ?? 0;
  }

  writeConfig(offset: number): void {
    this.#open();
    throw new UsageError(
      'OPTION_INVALID',
      `${this.name} has no field at ${offset} of its configuration that a driver may write`,
    );
  }

  readConfigGeneration(): number {
    return this.#open().parts.config.generation;
  }

  enableInterrupts(queues: number, handlers: InterruptHandlers): void {
    this.#open().parts.interrupts.enable(queues, handlers);
  }

  disableInterrupts(): void {
    this.#core.parts.interrupts.disable();
  }

  setKeepAlive(keepAlive: boolean): void {
    this.#core.parts.interrupts.setKeepAlive(keepAlive);
  }

  /** Nobody takes this device away: the handler is never called. */
  onRemoval(): void {
    this.#open();
  }

  close(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#core.guard(() => this.#checkReset());
    this.#core.reset();
    this.#core.parts.interrupts.disable();
    this.#closed = true;
    this.#onClose();
    return Promise.resolve();
  }

  #checkReset(): void {
    if (this.#core.status === 0) return;
    throw new DriverViolation('the transport was closed before the device was reset');
  }

  #open(): DeviceCore {
    if (!this.#closed) return this.#core;
    throw new UsageError(
      'DEVICE_CLOSED',
      `The transport of ${this.#core.options.name} was used after close()`,
    );
  }
}
