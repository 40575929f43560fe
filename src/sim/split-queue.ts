/** The device's side of a split virtqueue (VIRTIO 1.3, 2.7). */
import type { QueueLayout } from '../transport/transport.js';
import type { ChainContext } from './chain-builder.js';
import type { Chain } from './chain.js';
import { DESCRIPTOR_LENGTH } from './descriptor.js';
import type { DeviceQueue, InterruptWish, QueueOptions } from './device-queue.js';
import type { SimulatedMemory, SimulatedRegion } from './memory.js';
import { checkLegacyPlaces } from './legacy-areas.js';
import { checkNotificationData, type Notification } from './notification-data.js';
import { OwnedBuffers } from './owned-buffers.js';
import { QueueAreas, type AreaShapes } from './queue-areas.js';
import { readSplitChain } from './split-chain.js';
import { UsedBatches, type UsedBatch } from './used-batch.js';
import { DriverViolation } from './violation.js';

const FLAGS = 0;
const IDX = 1;
const RING = 2;

const AVAIL_NO_INTERRUPT = 1;
const USED_NO_NOTIFY = 1;

export class SplitQueue implements DeviceQueue {
  readonly #options: QueueOptions;
  readonly #size: number;
  readonly #areas: QueueAreas;
  readonly #chains: ChainContext;
  readonly #available: Uint16Array;
  readonly #used: Uint16Array;
  readonly #usedElements: Uint32Array;
  readonly #owned: OwnedBuffers;
  readonly #batches: UsedBatches;
  /** In order: the descriptor that the driver must use next. */
  #nextDescriptor = 0;
  #lastAvailable = 0;
  #availableAtNotification = 0;
  #usedIndex = 0;
  #publishedIndex = 0;

  /** @throws DriverViolation where the layout is not one that the specification allows */
  constructor(memory: SimulatedMemory, layout: QueueLayout, options: QueueOptions) {
    const { size } = layout;
    if (options.legacy) checkLegacyPlaces(memory, layout);
    const areas = new QueueAreas(memory, layout, shapesFor(size), options.isolation);
    const { driver, device } = areas;
    this.#options = options;
    this.#size = size;
    this.#areas = areas;
    const { indirect, inOrder } = options;
    this.#chains = { memory, table: areas.descriptors, size, indirect, inOrder };
    this.#owned = new OwnedBuffers(options);
    this.#batches = new UsedBatches(inOrder && options.batches);
    this.#available = new Uint16Array(driver.region.buffer, driver.bytes.byteOffset, driver.length / 2);
    this.#used = new Uint16Array(device.region.buffer, device.bytes.byteOffset, device.length / 2);
    this.#usedElements = new Uint32Array(device.region.buffer, device.bytes.byteOffset, 1 + 2 * size);
    if (this.#used[FLAGS] !== 0 || this.#used[IDX] !== 0) {
      throw new DriverViolation('the device area was not zeroed before the queue was enabled');
    }
  }

  take(): Chain | undefined {
    if (this.#countAvailable() === 0) return undefined;
    const slot = RING + (this.#lastAvailable & (this.#size - 1));
    const chain = this.#readChain(this.#available[slot]);
    this.#lastAvailable = (this.#lastAvailable + 1) & 0xffff;
    this.#owned.add(chain, chain.entries);
    return chain;
  }

  complete(chain: Chain, bytes: Uint8Array): void {
    this.#areas.check();
    this.#owned.giveBack(chain, chain.entries, bytes);
    this.#write(this.#batches.add(chain, this.#usedIndex, bytes.length));
    this.#usedIndex = (this.#usedIndex + 1) & 0xffff;
    this.#areas.remember();
  }

  publish(): InterruptWish {
    const before = this.#publishedIndex;
    if (before === this.#usedIndex) return 'nothing';
    this.#areas.check();
    this.#write(this.#batches.end());
    this.#publishedIndex = this.#usedIndex;
    Atomics.store(this.#used, IDX, this.#usedIndex);
    this.#areas.remember();
    return this.#wantsInterrupt(before) ? 'wanted' : 'suppressed';
  }

  armNotifications(): boolean {
    this.#areas.check();
    if (this.#options.eventIdx) Atomics.store(this.#used, this.#availEvent, this.#lastAvailable);
    else Atomics.store(this.#used, FLAGS, 0);
    this.#areas.remember();
    return this.#countAvailable() > 0;
  }

  disarmNotifications(): void {
    this.#areas.check();
    // With the event index there is nothing to write: the index that was asked for lies behind.
    if (!this.#options.eventIdx) Atomics.store(this.#used, FLAGS, USED_NO_NOTIFY);
    this.#areas.remember();
  }

  acceptNotification(notification: Notification): boolean {
    this.#areas.check();
    const before = this.#availableAtNotification;
    const now = Atomics.load(this.#available, IDX);
    checkNotificationData(this.#options.notificationData, notification, () => now);
    this.#availableAtNotification = now;
    if (this.#options.eventIdx) return passes(this.#used[this.#availEvent], before, now);
    return this.#used[FLAGS] === 0;
  }

  uses(region: SimulatedRegion): boolean {
    return this.#areas.uses(region) || this.#owned.uses(region);
  }

  verifyOwned(): void {
    this.#areas.check();
    this.#owned.verify();
  }

  get #availEvent(): number {
    return RING + 4 * this.#size;
  }

  get #usedEvent(): number {
    return RING + this.#size;
  }

  /** How many buffers the driver has made available that the device has not taken. */
  #countAvailable(): number {
    this.#areas.check();
    this.#checkFlags();
    const index = Atomics.load(this.#available, IDX);
    const count = (index - this.#lastAvailable) & 0xffff;
    if (count > this.#size) {
      const step = `from ${this.#lastAvailable} to ${index}`;
      throw new DriverViolation(
        `the available index jumped ${step}, but the queue has ${this.#size} entries`,
      );
    }
    return count;
  }

  #write(batch: UsedBatch | undefined): void {
    if (batch === undefined) return;
    const element = 1 + 2 * (batch.start & (this.#size - 1));
    this.#usedElements[element] = batch.id;
    this.#usedElements[element + 1] = batch.length;
  }

  #readChain(head: number): Chain {
    if (head >= this.#size) {
      const limit = `the queue has ${this.#size} entries`;
      throw new DriverViolation(`the available ring names descriptor ${head}, but ${limit}`);
    }
    const chain = readSplitChain(this.#chains, head);
    const again = chain.entries.find((entry) => this.#owned.owns(entry));
    if (again !== undefined) {
      throw new DriverViolation(`descriptor ${again} was made available while the device still owns it`);
    }
    if (this.#options.inOrder) this.#followRing(chain.entries);
    return chain;
  }

  /** With VIRTIO_F_IN_ORDER the driver uses descriptors in the order of the table (VIRTIO 1.3, 2.7.5). */
  #followRing(entries: readonly number[]): void {
    for (const entry of entries) {
      const expected = this.#nextDescriptor;
      if (entry !== expected) {
        throw new DriverViolation(
          `descriptor ${entry} was made available where descriptor ${expected} comes next in order`,
        );
      }
      this.#nextDescriptor = (expected + 1) % this.#size;
    }
  }

  /** VIRTIO 1.3, 2.7.7: by an index of the used ring, or by a flag. */
  #wantsInterrupt(before: number): boolean {
    this.#checkFlags();
    if (!this.#options.eventIdx) return (Atomics.load(this.#available, FLAGS) & AVAIL_NO_INTERRUPT) === 0;
    return passes(Atomics.load(this.#available, this.#usedEvent), before, this.#usedIndex);
  }

  #checkFlags(): void {
    const flags = Atomics.load(this.#available, FLAGS);
    if (this.#options.eventIdx && flags !== 0) {
      throw new DriverViolation(
        `the flags of the available ring are ${flags}, but with VIRTIO_F_RING_EVENT_IDX must be 0`,
      );
    }
    if (flags > AVAIL_NO_INTERRUPT) {
      throw new DriverViolation(`the flags of the available ring are ${flags}, but must be 0 or 1`);
    }
  }
}

/** Whether an index that goes from `before` to `now` passes the event index, wrapping at 2^16. */
function passes(event: number, before: number, now: number): boolean {
  return ((now - event - 1) & 0xffff) < ((now - before) & 0xffff);
}

/** VIRTIO 1.3, 2.7: lengths and alignment of the three parts. */
function shapesFor(size: number): AreaShapes {
  return {
    descriptors: { length: DESCRIPTOR_LENGTH * size, alignment: 16 },
    driver: { length: 6 + 2 * size, alignment: 2 },
    device: { length: 6 + 8 * size, alignment: 4 },
  };
}
