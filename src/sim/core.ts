/** The registers of the device: status, features, queues and notifications (VIRTIO 1.3, chapters 2 and 3). */
import { DeviceError } from '../errors.js';
import type { Logger } from '../log.js';
import { STATUS, type QueueLayout } from '../transport/transport.js';
import type { ConfigSpace } from './config-space.js';
import type { DeviceQueue } from './device-queue.js';
import type { Interrupts } from './interrupts.js';
import { hex, type SimulatedMemory, type SimulatedRegion } from './memory.js';
import { Negotiation, type NegotiationOptions } from './negotiation.js';
import { largestQueue, openQueue } from './queue-format.js';
import type { Notification } from './notification-data.js';
import type { Counters } from './statistics.js';
import { StatusRegister } from './status.js';
import { DriverViolation } from './violation.js';

/** What a kind of device does with its queues. Its methods may throw a DriverViolation. */
export interface DeviceFunction {
  /** The features that driver and device agree on; before any queue is enabled. */
  negotiated(features: bigint): void;
  queueEnabled(index: number, queue: DeviceQueue): void;
  /** The driver has reset that queue alone. */
  queueReset(index: number): void;
  notified(index: number): void;
  /** Counts packets that the driver is to be told of; says whether the interrupt for them has to wait. */
  holdsInterrupt(index: number, packets: number): boolean;
  reset(): void;
}

export interface CoreOptions extends NegotiationOptions {
  readonly name: string;
  /** The largest size of each queue. */
  readonly queueSizes: readonly number[];
  readonly isolation: boolean;
  readonly usedBatches: boolean;
  readonly logger: Logger;
}

/** The parts that the registers act on. */
export interface CoreParts {
  readonly memory: SimulatedMemory;
  readonly interrupts: Interrupts;
  readonly config: ConfigSpace;
  readonly counters: Counters;
}

export class DeviceCore {
  readonly options: CoreOptions;
  readonly parts: CoreParts;
  /** What rules the driver broke, a sentence each, the oldest first. */
  readonly violations: string[] = [];
  readonly #status: StatusRegister;
  readonly #negotiation: Negotiation;
  readonly #queues: (DeviceQueue | undefined)[];
  /** Queues whose interrupt waits until more has come together. */
  readonly #held = new Set<number>();
  /** Queues that were reset by themselves and not enabled again. */
  readonly #reset = new Set<number>();
  #function: DeviceFunction | undefined;

  constructor(options: CoreOptions, parts: CoreParts) {
    this.options = options;
    this.parts = parts;
    this.#status = new StatusRegister(options.legacy);
    this.#negotiation = new Negotiation(options);
    this.#queues = options.queueSizes.map(() => undefined);
    parts.memory.onFree = (region) => this.#regionFreed(region);
  }

  /** Says what the device does with its queues; to be called once. */
  attach(deviceFunction: DeviceFunction): void {
    this.#function = deviceFunction;
  }

  get status(): number {
    return this.#status.value;
  }

  /** Whether a driver is at work and the device works for it. */
  get isLive(): boolean {
    return this.#status.has(STATUS.DRIVER_OK) && !this.#status.has(STATUS.DEVICE_NEEDS_RESET);
  }

  get queueCount(): number {
    return this.#queues.length;
  }

  /** The size that a queue may have at most, in the ring format that is chosen by now (VIRTIO 1.3, 4.1.4.3.1). */
  maxQueueSize(index: number): number {
    const chosen = this.#negotiation.isSettled ? this.#negotiation.chosen : 0n;
    const size = this.options.queueSizes.at(index);
    return index < 0 || size === undefined ? 0 : largestQueue(size, chosen);
  }

  isQueueEnabled(index: number): boolean {
    return this.#queues[index] !== undefined;
  }

  writeStatus(value: number): void {
    if (value === 0) this.reset();
    else this.guard(() => this.#status.write(value, (bit) => this.#maySet(bit)));
  }

  writeDriverFeatures(features: bigint): void {
    this.guard(() => this.#negotiation.choose(features, this.#status));
  }

  enableQueue(index: number, layout: QueueLayout): void {
    if (!(index in this.#queues)) {
      throw new DeviceError(
        'DEVICE_QUEUE_UNAVAILABLE',
        `${this.options.name} has ${this.queueCount} queues, but no queue ${index}`,
      );
    }
    this.guard(() => {
      this.#checkMayEnable(index);
      this.#within(index, () => this.#enable(index, layout));
    });
  }

  /**
   * Resets one queue, which may then be enabled anew (VIRTIO 1.3, 2.6.1).
   *
   * @returns whether it was reset
   */
  resetQueue(index: number): boolean {
    return (
      this.guard(() => {
        const queue = this.#queues[index];
        const what = `queue ${index} was reset`;
        if (!this.#negotiation.has('VIRTIO_F_RING_RESET'))
          throw new DriverViolation(`${what}, but VIRTIO_F_RING_RESET was not negotiated`);
        if (queue === undefined) throw new DriverViolation(`${what}, but it is not enabled`);
        if (this.isLive) this.#within(index, () => queue.verifyOwned());
        this.#queues[index] = undefined;
        this.#reset.add(index);
        this.#held.delete(index);
        this.#function?.queueReset(index);
        this.parts.interrupts.unmapQueue(index);
        return true;
      }) === true
    );
  }

  notify(index: number, data?: number): void {
    this.#notify(index, { data, late: false });
  }

  /** As {@link notify}, from another thread, which may have added more buffers since: what it says has been so. */
  notifyLate(index: number, data: number | undefined): void {
    this.#notify(index, { data, late: true });
  }

  #notify(index: number, notification: Notification): void {
    const { counters } = this.parts;
    counters.notifications++;
    if (index in this.#queues) counters.queues[index].notifications++;
    this.guard(() => {
      if (!this.#status.has(STATUS.DRIVER_OK))
        throw new DriverViolation(`queue ${index} was notified before DRIVER_OK`);
      if (!this.isLive) return;
      const queue = this.#queues[index];
      if (queue === undefined) throw new DriverViolation(`queue ${index} was notified but is not enabled`);
      this.#within(index, () => {
        if (!queue.acceptNotification(notification)) counters.notificationsUnneeded++;
        this.#function?.notified(index);
      });
    });
  }

  /** Does the device's own work on a queue; undefined if a violation came to light by it. */
  work<Result>(index: number, run: () => Result): Result | undefined {
    return this.guard(() => this.#within(index, run));
  }

  /** Shows the driver what was completed, so many packets, and interrupts where that is wanted. */
  publish(index: number, packets = 1): void {
    const { counters } = this.parts;
    const wish = this.#queues[index]?.publish();
    if (wish === undefined || wish === 'nothing') return;
    if (wish === 'suppressed') counters.interruptsSuppressed++;
    if (wish === 'wanted') this.#held.add(index);
    if (this.#function?.holdsInterrupt(index, packets) !== true) this.raiseHeld(index);
    else if (wish === 'wanted') counters.interruptsCoalesced++;
  }

  /** Interrupts for a queue, if the driver is to be told of anything that was completed. */
  raiseHeld(index: number): void {
    if (!this.#held.delete(index) || !this.parts.interrupts.raiseQueue(index)) return;
    const { counters } = this.parts;
    counters.interruptsSent++;
    counters.queues[index].interruptsSent++;
  }

  /** Tells the driver, if one is at work, that the configuration has changed (VIRTIO 1.3, 2.5, 3.1). */
  configChanged(): void {
    const { counters, interrupts } = this.parts;
    if (this.#status.has(STATUS.DRIVER_OK) && interrupts.raiseConfig()) counters.configInterrupts++;
  }

  /** Sets DEVICE_NEEDS_RESET and stops working (VIRTIO 1.3, 2.1.2). */
  askForReset(): void {
    if (this.#status.has(STATUS.DEVICE_NEEDS_RESET)) return;
    this.#status.set(STATUS.DEVICE_NEEDS_RESET);
    this.configChanged();
  }

  /** The device is taken away: it works no more. What the driver does to its memory from now on is no matter. */
  stop(): void {
    this.#clear();
  }

  reset(): void {
    if (this.isLive) this.guard(() => this.#verifyQueues());
    this.#clear();
  }

  #clear(): void {
    this.#status.clear();
    this.#negotiation.reset();
    this.#held.clear();
    this.#reset.clear();
    this.#queues.fill(undefined);
    this.#function?.reset();
    this.parts.interrupts.unmapAll();
  }

  /** Runs something on the driver's behalf; if it breaks a rule, records that and asks for a reset. */
  guard<Result>(run: () => Result): Result | undefined {
    try {
      return run();
    } catch (error) {
      if (!(error instanceof DriverViolation)) throw error;
      this.#record(error.message);
      this.askForReset();
      return undefined;
    }
  }

  #record(sentence: string): void {
    this.violations.push(sentence);
    this.options.logger.warn({ device: this.options.name, violation: sentence }, 'the driver broke a rule');
  }

  #maySet(bit: number): boolean {
    const accepts = (): boolean => this.#negotiation.accepts((violation) => this.#record(violation));
    if (bit === STATUS.FEATURES_OK && !accepts()) return false;
    if (bit === STATUS.FEATURES_OK || bit === STATUS.DRIVER_OK) this.#settle();
    return true;
  }

  #settle(): void {
    if (this.#negotiation.isSettled) return;
    this.#negotiation.settle();
    this.#function?.negotiated(this.#negotiation.chosen);
  }

  #checkMayEnable(index: number): void {
    const { legacy } = this.options;
    if (legacy && !this.#status.has(STATUS.DRIVER))
      throw new DriverViolation(`queue ${index} was enabled before DRIVER`);
    if (!legacy && !this.#status.has(STATUS.FEATURES_OK))
      throw new DriverViolation(`queue ${index} was enabled before FEATURES_OK`);
    if (this.#status.has(STATUS.DRIVER_OK) && !this.#reset.has(index))
      throw new DriverViolation(`queue ${index} was enabled after DRIVER_OK`);
    if (this.#queues[index] !== undefined) throw new DriverViolation(`queue ${index} was enabled twice`);
  }

  #enable(index: number, layout: QueueLayout): void {
    const { parts } = this;
    const limit = this.maxQueueSize(index);
    if (layout.size > limit)
      throw new DriverViolation(`a size of ${layout.size} is more than the ${limit} allowed`);
    if (this.options.legacy && layout.size !== limit)
      throw new DriverViolation(
        `a size of ${layout.size} is not the ${limit} that a legacy queue is fixed to`,
      );
    this.#settle();
    this.#checkAddressing();
    const queue = openQueue(parts.memory, layout, this.#negotiation.chosen, this.options);
    this.#queues[index] = queue;
    this.#reset.delete(index);
    this.#function?.queueEnabled(index, queue);
    this.parts.interrupts.mapQueue(index);
  }

  /** What the device is given has to be what it takes it for: addresses for the IOMMU, or those of the memory. */
  #checkAddressing(): void {
    const { addressing, behindIommu } = this.parts.memory;
    const translated = behindIommu && this.#negotiation.has('VIRTIO_F_ACCESS_PLATFORM');
    if ((addressing === 'iova') === translated) return;
    const wanted = translated ? 'goes through the IOMMU' : 'does not go through the IOMMU';
    throw new DriverViolation(`the driver gives ${addressing} addresses to a device that ${wanted}`);
  }

  /** Puts the queue's name in front of what is found out about it. */
  #within<Result>(index: number, run: () => Result): Result {
    try {
      return run();
    } catch (error) {
      if (!(error instanceof DriverViolation)) throw error;
      throw new DriverViolation(`queue ${index}: ${error.message}`);
    }
  }

  #verifyQueues(): void {
    for (const [index, queue] of this.#queues.entries()) this.#within(index, () => queue?.verifyOwned());
  }

  #regionFreed(region: SimulatedRegion): void {
    const index = this.#queues.findIndex((queue) => queue?.uses(region));
    if (index < 0) return;
    const what = `the DMA region at ${hex(region.base)} was freed while the device uses it`;
    this.guard(() => {
      throw new DriverViolation(`queue ${index}: ${what}: the device must be reset first`);
    });
  }
}
