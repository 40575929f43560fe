/** The transport that leads to a simulated device. */
import { DeviceError, UsageError } from '../errors.js';
import type { DmaMemory } from '../memory/dma.js';
import type { TransportSharing } from '../transport/sharing.js';
import type { AccessWidth, InterruptHandlers, QueueLayout, Transport } from '../transport/transport.js';
import type { DeviceCore } from './core.js';
import type { Removal } from './removal.js';
import { DriverViolation } from './violation.js';

/** What the registers of a device that has gone read as. */
const ALL_ONES = 0xffff_ffff;
const LEGACY_FEATURES = 0xffff_ffffn;
const ALL_FEATURES = 0xffff_ffff_ffff_ffffn;

export class SimulatedTransport implements Transport {
  readonly kind = 'simulated';
  readonly legacy: boolean;
  readonly #core: DeviceCore;
  readonly #removal: Removal;
  readonly #onClose: () => void;
  #closed = false;

  constructor(core: DeviceCore, removal: Removal, onClose: () => void) {
    this.legacy = core.options.legacy;
    this.#core = core;
    this.#removal = removal;
    this.#onClose = onClose;
  }

  get name(): string {
    return this.#core.options.name;
  }

  get memory(): DmaMemory {
    return this.#core.parts.memory;
  }

  /** Interrupts and notifications of other threads pass through this one, which is where the device works. */
  readonly sharing: TransportSharing = {
    allocate: (size, options) => this.#open().parts.memory.allocateShared(size, options),
    createEvent: () => undefined,
    doorbell: () => undefined,
    notify: (queue, data) => this.#present()?.notifyLate(queue, data),
  };

  get queueCount(): number {
    return this.#core.queueCount;
  }

  get configLength(): number {
    return this.#core.parts.config.length;
  }

  readStatus(): number {
    const { status } = this.#open();
    if (!this.#removal.isGone) return status;
    throw new DeviceError('DEVICE_REMOVED', `${this.name} no longer answers: its registers read as all ones`);
  }

  writeStatus(status: number): void {
    this.#present()?.writeStatus(status);
  }

  readDeviceFeatures(): bigint {
    const core = this.#present();
    if (this.legacy) return (core?.options.offered ?? ALL_FEATURES) & LEGACY_FEATURES;
    return core?.options.offered ?? ALL_FEATURES;
  }

  writeDriverFeatures(features: bigint): void {
    this.#present()?.writeDriverFeatures(features);
  }

  maxQueueSize(queue: number): number {
    const core = this.#present();
    return core === undefined ? ALL_ONES & 0xffff : core.maxQueueSize(queue);
  }

  enableQueue(queue: number, layout: QueueLayout): void {
    this.#present()?.enableQueue(queue, layout);
  }

  notify(queue: number, data?: number): void {
    this.#present()?.notify(queue, data);
  }

  async resetQueue(queue: number): Promise<void> {
    const core = this.#present();
    if (core === undefined) throw new DeviceError('DEVICE_REMOVED', `${this.name} has gone`);
    await Promise.resolve();
    if (core.resetQueue(queue)) return;
    throw new DeviceError('DEVICE_QUEUE_RESET_TIMEOUT', `Queue ${queue} of ${this.name} was not reset`);
  }

  /** A field that is not there reads as 0, after the violation was recorded. */
  readConfig(offset: number, width: AccessWidth): number {
    const core = this.#present();
    if (core === undefined) return ALL_ONES >>> (32 - 8 * width);
    return core.guard(() => core.parts.config.read(offset, width)) ?? 0;
  }

  writeConfig(offset: number, width: AccessWidth, value: number): void {
    const core = this.#present();
    core?.guard(() => core.parts.config.write(offset, width, value));
  }

  readConfigGeneration(): number {
    return this.#present()?.parts.config.generation ?? 0xff;
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

  onRemoval(handler: (() => void) | undefined): void {
    this.#removal.listen(handler);
  }

  close(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    if (!this.#removal.isGone) this.#core.guard(() => this.#checkReset());
    this.#core.reset();
    this.#core.parts.interrupts.disable();
    this.#removal.listen(undefined);
    this.#closed = true;
    this.#onClose();
    return Promise.resolve();
  }

  #checkReset(): void {
    if (this.#core.status === 0) return;
    throw new DriverViolation('the transport was closed before the device was reset');
  }

  /** The device, unless it has gone: then nothing that is written has an effect. */
  #present(): DeviceCore | undefined {
    const core = this.#open();
    return this.#removal.isGone ? undefined : core;
  }

  #open(): DeviceCore {
    if (!this.#closed) return this.#core;
    throw new UsageError(
      'DEVICE_CLOSED',
      `The transport of ${this.#core.options.name} was used after close()`,
    );
  }
}
