/**
 * A virtio device behind the legacy PCI interface, that of virtio 0.9.5 (VIRTIO 1.3, 4.1.4.10 and the other sections
 * on the legacy interface).
 *
 * What a legacy device puts into its configuration and its rings has the byte order of the machine. The native shim
 * exists for little-endian machines alone, so that this is the order of PCI and of VIRTIO 1 as well.
 */
import { PciError, UsageError } from '../errors.js';
import type { Logger } from '../log.js';
import type { DmaMemory } from '../memory/dma.js';
import type { PciFunction, RegisterWindow } from '../pci/pci-function.js';
import { checkConfigAccess } from './config-access.js';
import { ConfigChanges } from './config-changes.js';
import { LegacyRegisters } from './legacy-registers.js';
import { pageFrameOf } from './legacy-ring.js';
import { closePci } from './pci-close.js';
import { PciInterrupts, type InterruptOptions } from './pci-interrupts.js';
import { Presence } from './presence.js';
import { checkRingSize, isPowerOfTwo, LARGEST_QUEUE, queueUnavailable } from './queue-sizes.js';
import type { AccessWidth, InterruptHandlers, QueueLayout, Transport } from './transport.js';

/** How to make the transport. */
export interface LegacyPciOptions extends InterruptOptions {
  readonly log: Logger;
  /** Called at the very end of `close()`, when the function is closed: gives the card back to the kernel. */
  readonly release?: (() => Promise<void>) | undefined;
}

/** The BAR that the registers are in. */
const BAR = 0;
/** The length of all registers, those for MSI-X included, in bytes. */
const REGISTERS_LENGTH = 24;
const MAX_FEATURES = 1n << 32n;
const MAX_QUEUES = 0xffff;

/**
 * Drives a device through the registers in I/O BAR 0.
 *
 * The function becomes the transport's when the constructor returns, and is closed by `close()`; a constructor
 * that throws leaves it open, with the caller.
 */
export class LegacyPciTransport implements Transport {
  readonly kind = 'pci-legacy';
  readonly legacy = true;
  readonly name: string;
  readonly memory: DmaMemory;

  readonly #function: PciFunction;
  readonly #options: LegacyPciOptions;
  readonly #window: RegisterWindow;
  readonly #registers: LegacyRegisters;
  readonly #presence: Presence;
  readonly #interrupts: PciInterrupts;
  readonly #changes = new ConfigChanges((offset) => this.readConfig(offset, 1));
  /** Which queues are enabled. */
  #enabled: boolean[] = [];
  /** Found by asking for one after another; which there are may depend on the features. */
  #queueCount: number | undefined;
  #closed: Promise<void> | undefined;

  /** @throws PciError PCI_CAPABILITY_INVALID, and what opening a BAR throws */
  constructor(pciFunction: PciFunction, options: LegacyPciOptions) {
    this.name = pciFunction.address;
    this.memory = pciFunction.memory;
    this.#function = pciFunction;
    this.#options = options;
    this.#window = openRegisters(pciFunction);
    const registers = new LegacyRegisters(this.#window);
    this.#registers = registers;
    this.#presence = new Presence(this.name, () => registers.deviceStatus);
    this.#interrupts = new PciInterrupts({ pciFunction, registers, presence: this.#presence }, options);
  }

  readStatus(): number {
    return this.#presence.status();
  }

  writeStatus(status: number): void {
    this.#registers.deviceStatus = status;
    if (status !== 0) return;
    this.#enabled = [];
    this.#queueCount = undefined;
  }

  readDeviceFeatures(): bigint {
    return BigInt(this.#presence.checked(this.#registers.deviceFeatures, 4));
  }

  writeDriverFeatures(features: bigint): void {
    if (features < 0n || features >= MAX_FEATURES) {
      throw new UsageError(
        'OPTION_INVALID',
        'Through the legacy interface no feature beyond bit 31 can be accepted',
      );
    }
    this.#registers.driverFeatures = Number(features);
    this.#queueCount = undefined;
  }

  get queueCount(): number {
    this.#queueCount ??= this.#countQueues();
    return this.#queueCount;
  }

  /** The one size that the queue can have. */
  maxQueueSize(queue: number): number {
    if (!Number.isInteger(queue) || queue < 0 || queue >= MAX_QUEUES) return 0;
    this.#registers.selectQueue(queue);
    const size = this.#presence.checked(this.#registers.queueSize, 2);
    if (size === 0 || (isPowerOfTwo(size) && size <= LARGEST_QUEUE)) return size;
    throw queueUnavailable(this.name, queue, `says it has ${size} entries`);
  }

  enableQueue(queue: number, layout: QueueLayout): void {
    const frame = this.#checkLayout(queue, layout);
    this.#registers.selectQueue(queue);
    if (this.#registers.queueAddress !== 0) {
      throw queueUnavailable(this.name, queue, 'is enabled already; reset the device first');
    }
    this.#interrupts.mapSelectedQueue(queue);
    this.#registers.queueAddress = frame;
    this.#enabled[queue] = true;
  }

  resetQueue(queue: number): Promise<void> {
    return Promise.reject(
      new UsageError(
        'FEATURE_NOT_NEGOTIATED',
        `Queue ${queue} of ${this.name} can not be reset alone through the legacy interface`,
      ),
    );
  }

  notify(queue: number): void {
    if (!this.#enabled[queue]) throw queueUnavailable(this.name, queue, 'is not enabled');
    this.#registers.notify(queue);
  }

  get configLength(): number {
    return this.#window.size - this.#registers.configAt;
  }

  readConfig(offset: number, width: AccessWidth): number {
    checkConfigAccess(this, offset, width);
    return this.#presence.checked(this.#window.read(this.#registers.configAt + offset, width), width);
  }

  writeConfig(offset: number, width: AccessWidth, value: number): void {
    checkConfigAccess(this, offset, width);
    this.#window.write(this.#registers.configAt + offset, width, value);
  }

  /**
   * The legacy interface has no generation: the configuration is read, and compared with the last time. So what is
   * read between two calls that give the same is consistent: it was read as long as nothing changed (2.5.3).
   */
  readConfigGeneration(): number {
    return this.#changes.generation(this.configLength);
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
      windows: () => [this.#window],
      askForReset: () => this.writeStatus(0),
      release: this.#options.release,
    });
    return this.#closed;
  }

  #countQueues(): number {
    let count = 0;
    while (count < MAX_QUEUES && this.maxQueueSize(count) !== 0) count += 1;
    return count;
  }

  #checkLayout(queue: number, layout: QueueLayout): number {
    const { size } = layout;
    const offered = this.maxQueueSize(queue);
    if (offered === 0) throw queueUnavailable(this.name, queue, 'does not exist');
    checkRingSize(queue, size, false);
    if (size !== offered) throw queueUnavailable(this.name, queue, `has ${offered} entries, not ${size}`);
    return pageFrameOf(this.name, queue, layout);
  }
}

function openRegisters(pciFunction: PciFunction): RegisterWindow {
  const size = pciFunction.barSize(BAR);
  if (size >= REGISTERS_LENGTH) return pciFunction.openBar(BAR);
  throw new PciError(
    'PCI_CAPABILITY_INVALID',
    `${pciFunction.address} has no registers of the legacy interface: its BAR 0 has ${size} bytes`,
  );
}
