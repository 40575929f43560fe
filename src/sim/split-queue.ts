/** The device's side of a split virtqueue (VIRTIO 1.3, 2.7). */
import type { QueueLayout } from '../transport/transport.js';
import { scatter, segmentAt, type Chain, type Segment } from './chain.js';
import type { DeviceQueue, InterruptWish } from './device-queue.js';
import { firstDifference, Isolation } from './isolation.js';
import { hex, type SimulatedMemory, type SimulatedRegion } from './memory.js';
import { DESCRIPTOR_LENGTH, readChain } from './split-chain.js';
import { DriverViolation } from './violation.js';

const FLAGS = 0;
const IDX = 1;
const RING = 2;

const AVAIL_NO_INTERRUPT = 1;
const USED_NO_NOTIFY = 1;

/** How a queue is to work. */
export interface SplitQueueOptions {
  readonly eventIdx: boolean;
  readonly indirect: boolean;
  readonly isolation: boolean;
}

export class SplitQueue implements DeviceQueue {
  readonly #memory: SimulatedMemory;
  readonly #options: SplitQueueOptions;
  readonly #size: number;
  readonly #areas: readonly Segment[];
  readonly #descriptors: Segment;
  readonly #available: Uint16Array;
  readonly #used: Uint16Array;
  readonly #usedElements: Uint32Array;
  readonly #usedBytes: Uint8Array;
  /** With isolation: what the device last wrote into its area. */
  readonly #usedCopy: Uint8Array | undefined;
  /** The buffers that the device owns, each under every entry of the ring that it occupies. */
  readonly #owned = new Map<number, { chain: Chain; isolation: Isolation | undefined }>();
  #lastAvailable = 0;
  #availableAtNotification = 0;
  #usedIndex = 0;
  #publishedIndex = 0;

  /** @throws DriverViolation where the layout is not one that the specification allows */
  constructor(memory: SimulatedMemory, layout: QueueLayout, options: SplitQueueOptions) {
    const [descriptors, driver, device] = locateAreas(memory, layout);
    this.#memory = memory;
    this.#options = options;
    this.#size = layout.size;
    this.#areas = [descriptors, driver, device];
    this.#descriptors = descriptors;
    this.#available = new Uint16Array(driver.region.buffer, driver.bytes.byteOffset, driver.length / 2);
    this.#used = new Uint16Array(device.region.buffer, device.bytes.byteOffset, device.length / 2);
    this.#usedElements = new Uint32Array(device.region.buffer, device.bytes.byteOffset, 1 + 2 * layout.size);
    this.#usedBytes = device.bytes;
    this.#usedCopy = options.isolation ? device.bytes.slice() : undefined;
    if (this.#used[FLAGS] !== 0 || this.#used[IDX] !== 0) {
      throw new DriverViolation('the device area was not zeroed before the queue was enabled');
    }
  }

  take(): Chain | undefined {
    if (this.#countAvailable() === 0) return undefined;
    const slot = RING + (this.#lastAvailable & (this.#size - 1));
    const chain = this.#readChain(this.#available[slot]);
    this.#lastAvailable = (this.#lastAvailable + 1) & 0xffff;
    const isolation = this.#options.isolation ? new Isolation(chain) : undefined;
    for (const entry of chain.entries) this.#owned.set(entry, { chain, isolation });
    return chain;
  }

  complete(chain: Chain, bytes: Uint8Array): void {
    this.#checkAreas();
    this.#owned.get(chain.id)?.isolation?.verify();
    scatter(chain.writableSegments, bytes);
    for (const entry of chain.entries) this.#owned.delete(entry);
    const element = 1 + 2 * (this.#usedIndex & (this.#size - 1));
    this.#usedElements[element] = chain.id;
    this.#usedElements[element + 1] = bytes.length;
    this.#usedIndex = (this.#usedIndex + 1) & 0xffff;
    this.#rememberUsedArea();
  }

  publish(): InterruptWish {
    const before = this.#publishedIndex;
    if (before === this.#usedIndex) return 'nothing';
    this.#checkAreas();
    this.#publishedIndex = this.#usedIndex;
    Atomics.store(this.#used, IDX, this.#usedIndex);
    this.#rememberUsedArea();
    return this.#wantsInterrupt(before) ? 'wanted' : 'suppressed';
  }

  armNotifications(): boolean {
    this.#checkAreas();
    if (this.#options.eventIdx) Atomics.store(this.#used, this.#availEvent, this.#lastAvailable);
    else Atomics.store(this.#used, FLAGS, 0);
    this.#rememberUsedArea();
    return this.#countAvailable() > 0;
  }

  disarmNotifications(): void {
    this.#checkAreas();
    // With the event index there is nothing to write: the index that was asked for lies behind.
    if (!this.#options.eventIdx) Atomics.store(this.#used, FLAGS, USED_NO_NOTIFY);
    this.#rememberUsedArea();
  }

  acceptNotification(): boolean {
    this.#checkAreas();
    const before = this.#availableAtNotification;
    const now = Atomics.load(this.#available, IDX);
    this.#availableAtNotification = now;
    if (this.#options.eventIdx) return passes(this.#used[this.#availEvent], before, now);
    return this.#used[FLAGS] === 0;
  }

  uses(region: SimulatedRegion): boolean {
    if (this.#areas.some((area) => area.region === region)) return true;
    const lies = (segment: Segment): boolean => segment.region === region;
    for (const { chain } of this.#owned.values()) {
      if ([...chain.descriptors, ...chain.readableSegments, ...chain.writableSegments].some(lies))
        return true;
    }
    return false;
  }

  verifyOwned(): void {
    this.#checkAreas();
    for (const { isolation } of this.#owned.values()) isolation?.verify();
  }

  get #availEvent(): number {
    return RING + 4 * this.#size;
  }

  get #usedEvent(): number {
    return RING + this.#size;
  }

  /** How many buffers the driver has made available that the device has not taken. */
  #countAvailable(): number {
    this.#checkAreas();
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

  #readChain(head: number): Chain {
    if (head >= this.#size) {
      const limit = `the queue has ${this.#size} entries`;
      throw new DriverViolation(`the available ring names descriptor ${head}, but ${limit}`);
    }
    const { indirect } = this.#options;
    const context = { memory: this.#memory, table: this.#descriptors, size: this.#size, indirect };
    const chain = readChain(context, head);
    const again = chain.entries.find((entry) => this.#owned.has(entry));
    if (again === undefined) return chain;
    throw new DriverViolation(`descriptor ${again} was made available while the device still owns it`);
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

  #checkAreas(): void {
    for (const area of this.#areas) {
      if (area.bytes.length === area.length) continue;
      throw new DriverViolation(
        `the memory of the queue at ${hex(area.address)} was freed while it was enabled`,
      );
    }
    if (this.#usedCopy === undefined) return;
    const at = firstDifference(this.#usedBytes, this.#usedCopy);
    if (at !== undefined) throw new DriverViolation(`the driver altered byte ${at} of the device area`);
  }

  #rememberUsedArea(): void {
    this.#usedCopy?.set(this.#usedBytes);
  }
}

/** Whether an index that goes from `before` to `now` passes the event index, wrapping at 2^16. */
function passes(event: number, before: number, now: number): boolean {
  return ((now - event - 1) & 0xffff) < ((now - before) & 0xffff);
}

/** VIRTIO 1.3, 2.7: lengths and alignment of the three parts. */
function locateAreas(memory: SimulatedMemory, layout: QueueLayout): readonly [Segment, Segment, Segment] {
  const { size } = layout;
  const locate = (
    name: string,
    at: QueueLayout['driverArea'],
    length: number,
    alignment: number,
  ): Segment => {
    if (at.lo % alignment === 0) return segmentAt(memory, name, at, length);
    throw new DriverViolation(`${name} at ${hex(at.lo)} is not aligned to ${alignment} bytes`);
  };
  const areas = [
    locate('the descriptor area', layout.descriptorArea, DESCRIPTOR_LENGTH * size, 16),
    locate('the driver area', layout.driverArea, 6 + 2 * size, 2),
    locate('the device area', layout.deviceArea, 6 + 8 * size, 4),
  ] as const;
  refuseOverlap(areas);
  return areas;
}

function refuseOverlap(areas: readonly Segment[]): void {
  const sorted = areas.toSorted((left, right) => left.address - right.address);
  for (const [index, area] of sorted.entries()) {
    const following = sorted.at(index + 1);
    if (following === undefined || area.address + area.length <= following.address) continue;
    throw new DriverViolation(
      `the areas of the queue at ${hex(area.address)} and ${hex(following.address)} overlap`,
    );
  }
}
