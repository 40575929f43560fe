/** A virtio device behind the modern PCI interface (VIRTIO 1.3, 4.1). */
import { setTimeout as sleep } from 'node:timers/promises';
import { DeviceError, PciError, UsageError } from '../errors.js';
import type { Logger } from '../log.js';
import type { DmaMemory } from '../memory/dma.js';
import type { PciFunction, RegisterWindow } from '../pci/pci-function.js';
import { CommonConfig } from './common-config.js';
import { checkConfigAccess } from './config-access.js';
import { Doorbells } from './doorbells.js';
import { PciInterrupts } from './pci-interrupts.js';
import { GONE, Removal } from './removal.js';
import type { AccessWidth, InterruptHandlers, QueueLayout, Transport } from './transport.js';
import { findVirtioStructures, type VirtioStructures } from './virtio-capabilities.js';

/** How to make the transport. */
export interface ModernPciOptions {
  readonly log: Logger;
  /** Called at the very end of `close()`, when the function is closed: gives the card back to the kernel. */
  readonly release?: (() => Promise<void>) | undefined;
}

/** The largest queue that there can be (VIRTIO 1.3, 2.6 and 2.8). */
const LARGEST_QUEUE = 32768;
const RING_PACKED = 1n << 34n;
const RING_RESET = 1n << 40n;
const MAX_FEATURES = 1n << 64n;
/** How long to wait between two looks at a queue that is being reset, in milliseconds. */
const LOOK_EVERY_MS = 1;
/** Pauses between reads of the status while a device resets at `close()`, in milliseconds. */
const RESET_PAUSES = [0, 1, 2, 5, 10, 20, 50, 100, 200];

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
  readonly #windows: Windows;
  readonly #common: CommonConfig;
  readonly #doorbells: Doorbells;
  readonly #interrupts: PciInterrupts;
  readonly #removal = new Removal();
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
    this.#windows = openWindows(pciFunction, this.#structures);
    this.#common = new CommonConfig(this.#window('common'), this.#structures.common);
    this.#doorbells = new Doorbells({
      name: this.name,
      structure: this.#structures.notify,
      common: this.#common,
      window: () => this.#window('notify'),
    });
    this.#interrupts = new PciInterrupts(pciFunction, this.#common);
  }

  readStatus(): number {
    const status = this.#common.deviceStatus;
    if (status === GONE) throw this.#removal.gone(this.name);
    return status;
  }

  writeStatus(status: number): void {
    this.#common.deviceStatus = status;
    if (status === 0) this.#forgetQueues();
  }

  readDeviceFeatures(): bigint {
    return this.#common.readDeviceFeatures();
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
    return this.#common.numQueues;
  }

  maxQueueSize(queue: number): number {
    const offered = this.#offeredSizes[queue];
    if (offered !== undefined) return offered;
    if (!Number.isInteger(queue) || queue < 0 || queue >= this.queueCount) return 0;
    this.#common.selectQueue(queue);
    const size = this.#common.queueSize;
    if (size > LARGEST_QUEUE) throw this.#unavailable(queue, `says it has ${size} entries`);
    return size;
  }

  enableQueue(queue: number, layout: QueueLayout): void {
    const offered = this.maxQueueSize(queue);
    this.#checkSize(queue, layout.size, offered);
    this.#common.selectQueue(queue);
    if (this.#common.queueEnabled)
      throw this.#unavailable(queue, 'is enabled already; reset the device first');
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
    if (!this.#doorbells.isConnected(queue)) throw this.#unavailable(queue, 'is not enabled');
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

  get configLength(): number {
    return this.#structures.device?.length ?? 0;
  }

  readConfig(offset: number, width: AccessWidth): number {
    checkConfigAccess(this, offset, width);
    return this.#window('device').read(this.#configStart + offset, width);
  }

  writeConfig(offset: number, width: AccessWidth, value: number): void {
    checkConfigAccess(this, offset, width);
    this.#window('device').write(this.#configStart + offset, width, value);
  }

  readConfigGeneration(): number {
    return this.#common.configGeneration;
  }

  /**
   * The ISR status: bit 0 for queues, bit 1 for the configuration (VIRTIO 1.3, 4.1.4.5). Reading clears it.
   * With MSI-X on it says nothing and need not be read.
   */
  readIsr(): number {
    return this.#window('isr').read(this.#structures.isr.offset, 1);
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
    this.#removal.listen(handler);
  }

  /**
   * Resets the device, so that it no longer touches memory, then gives everything back. Every step is done even
   * if one before it failed; the first failure is thrown at the end.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#interrupts.mute();
    let quiet = false;
    const steps: Step[] = [
      ['reset the device', async () => void (quiet = await this.#resetDevice())],
      ['turn bus mastering off', () => this.#function.disable()],
      ['reset the function', () => this.#resetFunctionUnless(quiet)],
      ['turn interrupts off', () => this.#interrupts.disable()],
      ...closingSteps(this.#windows),
      ['close the function', () => this.#function.close()],
      ['give the device back', () => this.#options.release?.()],
    ];
    await runAll(steps, (step, error) =>
      this.#options.log.error({ bdf: this.name, step, err: error }, 'a step of closing failed'),
    );
  }

  /** Says whether the device has reset itself: one that hangs does not. */
  async #resetDevice(): Promise<boolean> {
    this.writeStatus(0);
    for (const pause of RESET_PAUSES) {
      if (pause > 0) await sleep(pause);
      const status = this.#common.deviceStatus;
      // One that has gone touches no memory either, and there is nothing to reset.
      if (status === 0 || status === GONE) return true;
    }
    return false;
  }

  #resetFunctionUnless(quiet: boolean): void {
    if (quiet) return;
    this.#options.log.warn({ bdf: this.name }, 'the device did not reset itself; resetting its PCI function');
    if (this.#function.reset()) return;
    this.#options.log.warn({ bdf: this.name }, 'the PCI function could not be reset either');
  }

  #forgetQueues(): void {
    this.#doorbells.forget();
    this.#offeredSizes = [];
    this.#packed = false;
    this.#ringReset = false;
  }

  #checkSize(queue: number, size: number, offered: number): void {
    if (offered === 0) throw this.#unavailable(queue, 'does not exist');
    const usable = this.#packed || (size & (size - 1)) === 0;
    if (!Number.isInteger(size) || size < 1 || !usable) {
      throw new UsageError('OPTION_INVALID', `Queue ${queue} can not have the size ${size}`, {
        remedy: 'The size of a split ring is a power of two, that of a packed ring at least 1.',
      });
    }
    if (size > offered) throw this.#unavailable(queue, `has at most ${offered} entries, not ${size}`);
  }

  /** Another queue may have been selected since the last look. */
  #isQueueReset(queue: number): boolean {
    this.#common.selectQueue(queue);
    return !this.#common.queueResetting && !this.#common.queueEnabled;
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

  #unavailable(queue: number, what: string): DeviceError {
    return new DeviceError('DEVICE_QUEUE_UNAVAILABLE', `Queue ${queue} of ${this.name} ${what}`);
  }

  #window(name: keyof VirtioStructures): RegisterWindow {
    const window = this.#windows.get(this.#structures[name]?.bar ?? -1);
    if (window === undefined) throw new RangeError(`${this.name} has no ${name} structure`);
    return window;
  }
}

type Step = [name: string, run: () => unknown];
/** The open BARs by their number. */
type Windows = ReadonlyMap<number, RegisterWindow>;

/** Opens each BAR that a structure lies in, once; all or none. */
function openWindows(pciFunction: PciFunction, structures: VirtioStructures): Windows {
  const { common, notify, isr, device = common } = structures;
  const windows = new Map<number, RegisterWindow>();
  try {
    for (const { bar } of [common, notify, isr, device]) {
      if (!windows.has(bar)) windows.set(bar, pciFunction.openBar(bar));
    }
  } catch (error) {
    for (const window of windows.values()) window.close();
    throw error;
  }
  return windows;
}

const closingSteps = (windows: Windows): Step[] =>
  [...windows].map(([bar, window]) => [`close BAR ${bar}`, () => window.close()]);

/** Runs each step, whatever happened in those before, and throws the first failure at the end. */
async function runAll(steps: readonly Step[], report: (step: string, error: unknown) => void): Promise<void> {
  const failures: unknown[] = [];
  for (const [name, run] of steps) {
    try {
      await run();
    } catch (error) {
      report(name, error);
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}
