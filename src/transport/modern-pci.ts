/** A virtio device behind the modern PCI interface (VIRTIO 1.3, 4.1). */
import { setTimeout as sleep } from 'node:timers/promises';
import { DeviceError, PciError, UsageError } from '../errors.js';
import type { Logger } from '../log.js';
import type { DmaMemory } from '../memory/dma.js';
import type { PciFunction } from '../pci/pci-function.js';
import { CommonConfig } from './common-config.js';
import { checkConfigAccess } from './config-access.js';
import { Doorbells } from './doorbells.js';
import { ModernWindows } from './modern-windows.js';
import { closePci } from './pci-close.js';
import { PciInterrupts, type InterruptOptions, type InterruptRegisters } from './pci-interrupts.js';
import { Presence } from './presence.js';
import { checkRingSize, LARGEST_QUEUE, queueUnavailable } from './queue-sizes.js';
import type { TransportSharing } from './sharing.js';
import type { AccessWidth, InterruptHandlers, QueueLayout, Transport } from './transport.js';
import { findVirtioStructures, type VirtioStructures } from './virtio-capabilities.js';

/** How to make the transport. */
export interface ModernPciOptions extends InterruptOptions {
  readonly log: Logger;
  /** Called at the very end of `close()`, when the function is closed: gives the card back to the kernel. */
  readonly release?: (() => Promise<void>) | undefined;
}

const RING_PACKED = 1n << 34n;
const RING_RESET = 1n << 40n;
const MAX_FEATURES = 1n << 64n;
/** How long to wait between two looks at a queue that is being reset, in milliseconds. */
const LOOK_EVERY_MS = 1;

/**
 * Drives a device through its structures in the BARs of a PCI function.
 *
 * The function becomes the transport's when the constructor returns, and is closed by `close()`; a constructor
 * that throws leaves it open, with the caller.
 */
export class ModernPciTransport implements Transport {
  readonly kind = 'pci-modern';
  readonly legacy = false;
  readonly name: string;
  readonly memory: DmaMemory;

  readonly #function: PciFunction;
  readonly #options: ModernPciOptions;
  readonly #structures: VirtioStructures;
  readonly #windows: ModernWindows;
  readonly #common: CommonConfig;
  readonly #doorbells: Doorbells;
  readonly #interrupts: PciInterrupts;
  readonly #presence: Presence;
  /** Of each queue that was set up, the size that the device offered before another was written over it. */
  #offeredSizes: (number | undefined)[] = [];
  #packed = false;
  #ringReset = false;
  #closed: Promise<void> | undefined;

  /** @throws PciError PCI_CAPABILITY_INVALID, and what opening a BAR throws */
  constructor(pciFunction: PciFunction, options: ModernPciOptions) {
    this.name = pciFunction.address;
    this.memory = pciFunction.memory;
    this.#function = pciFunction;
    this.#options = options;
    this.#structures = findVirtioStructures(pciFunction);
    this.#windows = new ModernWindows(pciFunction, this.#structures);
    const common = new CommonConfig(this.#windows.get('common'), this.#structures.common);
    this.#common = common;
    this.#presence = new Presence(this.name, () => common.deviceStatus);
    this.#doorbells = new Doorbells({
      name: this.name,
      structure: this.#structures.notify,
      common,
      window: (offset) => this.#windows.notify(offset),
    });
    const registers = interruptRegisters(common, () => this.readIsr());
    this.#interrupts = new PciInterrupts({ pciFunction, registers, presence: this.#presence }, options);
  }

  readStatus(): number {
    return this.#presence.status();
  }

  writeStatus(status: number): void {
    this.#common.deviceStatus = status;
    if (status === 0) this.#forgetQueues();
  }

  readDeviceFeatures(): bigint {
    const features = this.#common.readDeviceFeatures();
    if (features === MAX_FEATURES - 1n) this.#presence.status();
    return features;
  }

  writeDriverFeatures(features: bigint): void {
    if (features < 0n || features >= MAX_FEATURES) {
      throw new UsageError('OPTION_INVALID', 'Feature bits beyond 63 can not be accepted');
    }
    const lacking = this.#common.featureWithoutRegisters(features);
    if (lacking !== undefined) {
      throw new PciError(
        'PCI_CAPABILITY_INVALID',
        `${this.name} offers ${lacking}, but its common configuration has no registers for it`,
      );
    }
    this.#packed = (features & RING_PACKED) !== 0n;
    this.#ringReset = (features & RING_RESET) !== 0n;
    this.#doorbells.negotiated(features);
    this.#common.writeDriverFeatures(features);
  }

  get queueCount(): number {
    return this.#presence.checked(this.#common.numQueues, 2);
  }

  maxQueueSize(queue: number): number {
    const offered = this.#offeredSizes[queue];
    if (offered !== undefined) return offered;
    if (!Number.isInteger(queue) || queue < 0 || queue >= this.queueCount) return 0;
    this.#common.selectQueue(queue);
    const size = this.#presence.checked(this.#common.queueSize, 2);
    if (size > LARGEST_QUEUE) throw queueUnavailable(this.name, queue, `says it has ${size} entries`);
    return size;
  }

  enableQueue(queue: number, layout: QueueLayout): void {
    const offered = this.maxQueueSize(queue);
    this.#checkSize(queue, layout.size, offered);
    this.#common.selectQueue(queue);
    if (this.#common.queueEnabled) {
      // That of a device that has gone reads as enabled, too.
      this.#presence.status();
      throw queueUnavailable(this.name, queue, 'is enabled already; reset the device first');
    }
    const doorbell = this.#doorbells.find(queue);
    this.#offeredSizes[queue] = offered;
    this.#common.queueSize = layout.size;
    this.#common.writeQueueAddress('queueDesc', layout.descriptorArea);
    this.#common.writeQueueAddress('queueDriver', layout.driverArea);
    this.#common.writeQueueAddress('queueDevice', layout.deviceArea);
    this.#interrupts.mapSelectedQueue(queue);
    this.#common.enableQueue();
    this.#doorbells.connect(queue, doorbell);
  }

  async resetQueue(queue: number, timeout: number): Promise<void> {
    if (!this.#ringReset) {
      throw new UsageError('FEATURE_NOT_NEGOTIATED', `Queue ${queue} of ${this.name} can not be reset alone`);
    }
    if (!this.#doorbells.isConnected(queue)) throw queueUnavailable(this.name, queue, 'is not enabled');
    this.#doorbells.disconnect(queue);
    this.#common.selectQueue(queue);
    this.#common.resetQueue();
    const deadline = performance.now() + timeout;
    while (!this.#isQueueReset(queue)) {
      if (performance.now() >= deadline) throw this.#queueResetTimeout(queue, timeout);
      await sleep(LOOK_EVERY_MS);
    }
  }

  notify(queue: number, data = 0): void {
    this.#doorbells.ring(queue, data);
  }

  get sharing(): TransportSharing | undefined {
    const { sharing } = this.#function;
    if (sharing === undefined) return undefined;
    return {
      allocate: (size, options) => sharing.allocate(size, options),
      createEvent: () => sharing.createEvent(),
      doorbell: (queue) => this.#doorbells.share(queue),
      notify: (queue, data) => this.notify(queue, data),
    };
  }

  get configLength(): number {
    return this.#structures.device?.length ?? 0;
  }

  readConfig(offset: number, width: AccessWidth): number {
    checkConfigAccess(this, offset, width);
    const value = this.#windows.get('device').read(this.#configStart + offset, width);
    return this.#presence.checked(value, width);
  }

  writeConfig(offset: number, width: AccessWidth, value: number): void {
    checkConfigAccess(this, offset, width);
    this.#windows.get('device').write(this.#configStart + offset, width, value);
  }

  readConfigGeneration(): number {
    return this.#presence.checked(this.#common.configGeneration, 1);
  }

  /**
   * The ISR status: bit 0 for queues, bit 1 for the configuration (VIRTIO 1.3, 4.1.4.5). Reading clears it.
   * With MSI-X on it says nothing and need not be read.
   */
  readIsr(): number {
    return this.#windows.get('isr').read(this.#structures.isr.offset, 1);
  }

  /** A reset of the device unmaps its vectors: after one, interrupts have to be enabled again. */
  enableInterrupts(queues: number, handlers: InterruptHandlers): void {
    this.#interrupts.enable(queues, handlers);
  }

  disableInterrupts(): void {
    this.#interrupts.disable();
  }

  setKeepAlive(keepAlive: boolean): void {
    this.#function.setKeepAlive(keepAlive);
  }

  onRemoval(handler: (() => void) | undefined): void {
    this.#presence.listen(handler);
    this.#function.onRemovalRequest(handler === undefined ? undefined : () => this.#presence.notice());
  }

  /** Resets the device, so that it no longer touches memory, then gives everything back. */
  close(): Promise<void> {
    this.#closed ??= closePci({
      log: this.#options.log,
      pciFunction: this.#function,
      presence: this.#presence,
      interrupts: this.#interrupts,
      windows: () => this.#windows.all,
      askForReset: () => this.writeStatus(0),
      release: this.#options.release,
    });
    return this.#closed;
  }

  #forgetQueues(): void {
    this.#doorbells.forget();
    this.#offeredSizes = [];
    this.#packed = false;
    this.#ringReset = false;
  }

  #checkSize(queue: number, size: number, offered: number): void {
    if (offered === 0) throw queueUnavailable(this.name, queue, 'does not exist');
    checkRingSize(queue, size, this.#packed);
    if (size > offered) {
      throw queueUnavailable(this.name, queue, `has at most ${offered} entries, not ${size}`);
    }
  }

  /** Another queue may have been selected since the last look. */
  #isQueueReset(queue: number): boolean {
    this.#common.selectQueue(queue);
    const reset = this.#presence.checked(this.#common.queueReset, 2);
    return reset === 0 && !this.#common.queueEnabled;
  }

  #queueResetTimeout(queue: number, timeout: number): DeviceError {
    return new DeviceError(
      'DEVICE_QUEUE_RESET_TIMEOUT',
      `${this.name} did not finish the reset of queue ${queue} within ${timeout} ms`,
    );
  }

  get #configStart(): number {
    return this.#structures.device?.offset ?? 0;
  }
}

function interruptRegisters(common: CommonConfig, readIsr: () => number): InterruptRegisters {
  return {
    // The registers of a modern device stay where they are.
    noteMsix: () => undefined,
    mapConfigVector: (vector) => common.mapConfigVector(vector),
    selectQueue: (queue) => common.selectQueue(queue),
    mapQueueVector: (vector) => common.mapQueueVector(vector),
    readIsr,
  };
}
