/**
 * The device's side of a packed virtqueue (VIRTIO 1.3, 2.8).
 *
 * Places in the ring are counted from the start without end, see packed-events.ts: so nothing wraps but where the
 * ring itself is read or written.
 */
import type { QueueLayout } from '../transport/transport.js';
import type { ChainContext } from './chain-builder.js';
import type { Chain } from './chain.js';
import { DESCRIPTOR_LENGTH, FLAG_WRITE, descriptorAt } from './descriptor.js';
import type { DeviceQueue, InterruptWish, QueueOptions } from './device-queue.js';
import { Snapshot } from './isolation.js';
import type { SimulatedMemory, SimulatedRegion } from './memory.js';
import { checkNotificationData, type Notification } from './notification-data.js';
import { OwnedBuffers } from './owned-buffers.js';
import { readPackedChain } from './packed-chain.js';
import {
  eventWord,
  isWished,
  readDriverEvents,
  wrapAt,
  type DeviceWish,
  type DriverWish,
  type EventRules,
} from './packed-events.js';
import { QueueAreas, type AreaShapes } from './queue-areas.js';
import { UsedBatches, type UsedBatch } from './used-batch.js';
import { DriverViolation } from './violation.js';

/** Words of a descriptor: the length among the 32-bit ones, buffer id and flags among the 16-bit ones. */
const LENGTH = 2;
const ID = 6;
const FLAGS = 7;

const FLAG_AVAIL = 1 << 7;
const FLAG_USED = 1 << 15;
/** Of the data of a notification: next_wrap. */
const WRAP_BIT = 1 << 15;

export class PackedQueue implements DeviceQueue {
  readonly #size: number;
  readonly #options: QueueOptions;
  readonly #rules: EventRules;
  readonly #areas: QueueAreas;
  readonly #chains: ChainContext;
  readonly #words16: Uint16Array;
  readonly #words32: Uint32Array;
  readonly #driverEvents: Uint32Array;
  readonly #deviceEvents: Uint32Array;
  readonly #owned: OwnedBuffers;
  readonly #batches: UsedBatches;
  /** With isolation: the descriptors of the ring that the device owns. */
  readonly #snapshots = new Map<number, Snapshot>();
  /** The place of the next descriptor to take. */
  #nextAvailable = 0;
  /** What the device has asked the driver for. */
  #asked: DeviceWish = 'always';
  /** The place where the next used descriptor goes. */
  #nextUsed = 0;
  /** The place of the first descriptor whose flags the driver has yet to see, and those flags. */
  #published = 0;
  #heldFlags = 0;

  /** @throws DriverViolation where the layout is not one that the specification allows */
  constructor(memory: SimulatedMemory, layout: QueueLayout, options: QueueOptions) {
    const { size } = layout;
    const areas = new QueueAreas(memory, layout, shapesFor(size), options.isolation);
    const { descriptors: ring, driver, device } = areas;
    this.#size = size;
    this.#options = options;
    this.#rules = { size, eventIdx: options.eventIdx };
    this.#areas = areas;
    const { indirect, inOrder } = options;
    this.#chains = { memory, table: ring, size, indirect, inOrder };
    this.#owned = new OwnedBuffers(options);
    this.#batches = new UsedBatches(inOrder && options.batches);
    this.#words16 = new Uint16Array(ring.region.buffer, ring.bytes.byteOffset, 8 * size);
    this.#words32 = new Uint32Array(ring.region.buffer, ring.bytes.byteOffset, 4 * size);
    this.#driverEvents = new Uint32Array(driver.region.buffer, driver.bytes.byteOffset, 1);
    this.#deviceEvents = new Uint32Array(device.region.buffer, device.bytes.byteOffset, 1);
    this.#checkZeroed();
  }

  take(): Chain | undefined {
    this.#areas.check();
    this.#readDriverEvents();
    const first = this.#nextAvailable;
    if (!this.#isAvailable(first)) return undefined;
    const chain = readPackedChain(this.#chains, {
      first: first % this.#size,
      free: this.#nextUsed + this.#size - first,
      isAvailable: (behind) => this.#isAvailable(first + behind),
    });
    if (this.#owned.owns(chain.id)) {
      throw new DriverViolation(`${chain.name} was made available while the device still owns it`);
    }
    this.#own(chain);
    return chain;
  }

  complete(chain: Chain, bytes: Uint8Array): void {
    this.#areas.check();
    this.#owned.giveBack(chain, [chain.id], bytes);
    const next = this.#nextUsed + chain.entries.length;
    for (let place = this.#nextUsed; place < next; place++) this.#disown(place % this.#size);
    this.#write(this.#batches.add(chain, this.#nextUsed, bytes.length));
    this.#nextUsed = next;
  }

  publish(): InterruptWish {
    const from = this.#published;
    if (from === this.#nextUsed) return 'nothing';
    this.#areas.check();
    this.#write(this.#batches.end());
    this.#published = this.#nextUsed;
    Atomics.store(this.#words16, 8 * (from % this.#size) + FLAGS, this.#heldFlags);
    return isWished(this.#readDriverEvents(), from, this.#nextUsed, this.#size) ? 'wanted' : 'suppressed';
  }

  armNotifications(): boolean {
    this.#ask(this.#rules.eventIdx ? this.#nextAvailable : 'always');
    return this.#isAvailable(this.#nextAvailable);
  }

  disarmNotifications(): void {
    this.#ask('never');
  }

  acceptNotification(notification: Notification): boolean {
    this.#areas.check();
    checkNotificationData(this.#options.notificationData, notification, () => this.#endOfAvailable());
    if (typeof this.#asked === 'string') return this.#asked === 'always';
    return this.#asked < this.#nextAvailable || this.#isAvailable(this.#asked);
  }

  uses(region: SimulatedRegion): boolean {
    return this.#areas.uses(region) || this.#owned.uses(region);
  }

  verifyOwned(): void {
    this.#areas.check();
    this.#owned.verify();
    for (const snapshot of this.#snapshots.values()) snapshot.verify();
  }

  /** Writes the used descriptor of a batch. */
  #write(batch: UsedBatch | undefined): void {
    if (batch === undefined) return;
    const { start, id, length } = batch;
    const index = start % this.#size;
    this.#words32[4 * index + LENGTH] = length;
    this.#words16[8 * index + ID] = id;
    const flags = this.#usedFlags(start) | (length > 0 ? FLAG_WRITE : 0);
    // All that was completed becomes visible with the first one (2.8.9), which publish() shows.
    if (start === this.#published) this.#heldFlags = flags;
    else Atomics.store(this.#words16, 8 * index + FLAGS, flags);
  }

  /** The first descriptor that the driver has not made available: its offset, and its wrap counter above. */
  #endOfAvailable(): number {
    const most = this.#nextUsed + this.#size;
    let place = this.#nextAvailable;
    while (place < most && this.#isAvailable(place)) place++;
    return (place % this.#size) | (wrapAt(place, this.#size) ? WRAP_BIT : 0);
  }

  #own(chain: Chain): void {
    this.#owned.add(chain, [chain.id]);
    this.#nextAvailable += chain.entries.length;
    if (!this.#options.isolation) return;
    for (const index of chain.entries) {
      const { segment } = descriptorAt(this.#areas.descriptors, index);
      this.#snapshots.set(index, new Snapshot('a descriptor', segment));
    }
  }

  /** A descriptor goes back to the driver, though perhaps not for the buffer that it was for. */
  #disown(index: number): void {
    this.#snapshots.get(index)?.verify();
    this.#snapshots.delete(index);
  }

  /** Whether the driver has made the descriptor at a place available in the lap of that place (2.8.1). */
  #isAvailable(place: number): boolean {
    return this.#marks(place) === (wrapAt(place, this.#size) ? FLAG_AVAIL : FLAG_USED);
  }

  /** The two marks of a descriptor alone. */
  #marks(place: number): number {
    return Atomics.load(this.#words16, 8 * (place % this.#size) + FLAGS) & (FLAG_AVAIL | FLAG_USED);
  }

  #usedFlags(place: number): number {
    return wrapAt(place, this.#size) ? FLAG_AVAIL | FLAG_USED : 0;
  }

  #readDriverEvents(): DriverWish {
    return readDriverEvents(Atomics.load(this.#driverEvents, 0), this.#rules);
  }

  #ask(wish: DeviceWish): void {
    this.#areas.check();
    this.#asked = wish;
    Atomics.store(this.#deviceEvents, 0, eventWord(wish, this.#size));
    this.#areas.remember();
  }

  /** The ring may hold buffers already, but nothing that only the device writes. */
  #checkZeroed(): void {
    if (this.#deviceEvents[0] !== 0) {
      throw new DriverViolation('the device area was not zeroed before the queue was enabled');
    }
    for (let place = 0; place < this.#size; place++) {
      if (this.#marks(place) === this.#usedFlags(place)) {
        throw new DriverViolation('the descriptor area was not zeroed before the queue was enabled');
      }
    }
  }
}

/** VIRTIO 1.3, 2.8.10.1: lengths and alignment of the three parts. */
function shapesFor(size: number): AreaShapes {
  return {
    descriptors: { length: DESCRIPTOR_LENGTH * size, alignment: 16 },
    driver: { length: 4, alignment: 4 },
    device: { length: 4, alignment: 4 },
  };
}
