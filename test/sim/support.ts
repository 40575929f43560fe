/** A driver's side of the rings in as few lines as will do, written from the specification for these tests. */
import { expect } from 'vitest';
import type { DmaRegion } from '../../src/memory/dma.js';
import type { InterruptHandlers, QueueLayout, Transport } from '../../src/transport/transport.js';
import { SIMULATED_FEATURES, type SimulatedDevice, type SimulatedFeature } from '../../src/sim/index.js';

export const [ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET, FAILED] = [1, 2, 4, 8, 64, 128];
export const [NEXT, WRITE, INDIRECT] = [1, 2, 4];
export const [RX, TX] = [0, 1];
/** Length of each buffer of a ring. */
export const SLOT = 2048;
export const HEADER = 12;

export interface Entry {
  readonly address: number;
  readonly length: number;
  readonly flags?: number;
  readonly next?: number;
}

/** The memory of a virtqueue, with a buffer for each descriptor. */
export abstract class RingMemory {
  readonly size: number;
  readonly rings: DmaRegion;
  readonly buffers: DmaRegion;
  abstract readonly layout: QueueLayout;
  readonly #transport: Transport;
  readonly #queue: number;

  constructor(transport: Transport, queue: number, size: number, ringLength: number) {
    this.#transport = transport;
    this.#queue = queue;
    this.size = size;
    this.rings = transport.memory.allocate(ringLength);
    this.buffers = transport.memory.allocate(SLOT * size);
  }

  /** The buffer of a descriptor. */
  slot(index: number): Uint8Array {
    return new Uint8Array(this.buffers.buffer, SLOT * index, SLOT);
  }

  addressOfSlot(index: number): number {
    return this.buffers.addressOf(SLOT * index).lo;
  }

  /** Puts a frame behind an empty header into a buffer; says where it lies. */
  fill(index: number, frame: Uint8Array): Entry {
    this.slot(index).fill(0, 0, HEADER);
    this.slot(index).set(frame, HEADER);
    return { address: this.addressOfSlot(index), length: HEADER + frame.length };
  }

  /** A buffer for receiving. */
  empty(index: number): Entry {
    return { address: this.addressOfSlot(index), length: SLOT, flags: WRITE };
  }

  notify(): void {
    this.#transport.notify(this.#queue);
  }

  free(): void {
    this.rings.free();
    this.buffers.free();
  }
}

/** One split virtqueue. */
export class Ring extends RingMemory {
  readonly layout: QueueLayout;
  readonly #view: DataView;
  readonly #avail: number;
  readonly #used: number;
  #availIndex = 0;
  #seenUsed = 0;

  constructor(transport: Transport, queue: number, size: number) {
    const avail = 16 * size;
    const used = Math.ceil((avail + 6 + 2 * size) / 4) * 4;
    super(transport, queue, size, used + 6 + 8 * size);
    this.#avail = avail;
    this.#used = used;
    this.#view = new DataView(this.rings.buffer);
    this.layout = {
      size,
      descriptorArea: this.rings.addressOf(0),
      driverArea: this.rings.addressOf(avail),
      deviceArea: this.rings.addressOf(used),
    };
  }

  describe(index: number, entry: Entry): void {
    writeEntry(this.#view, index, entry);
  }

  /** Adds heads to the available ring and publishes the index. */
  offer(...heads: number[]): void {
    for (const head of heads) {
      this.#view.setUint16(this.#avail + 4 + 2 * (this.#availIndex % this.size), head, true);
      this.#availIndex = (this.#availIndex + 1) & 0xffff;
    }
    this.setAvailableIndex(this.#availIndex);
  }

  setAvailableIndex(index: number): void {
    this.#view.setUint16(this.#avail + 2, index, true);
  }

  setFlags(flags: number): void {
    this.#view.setUint16(this.#avail, flags, true);
  }

  setUsedEvent(index: number): void {
    this.#view.setUint16(this.#avail + 4 + 2 * this.size, index & 0xffff, true);
  }

  get usedFlags(): number {
    return this.#view.getUint16(this.#used, true);
  }

  get usedIndex(): number {
    return this.#view.getUint16(this.#used + 2, true);
  }

  get availEvent(): number {
    return this.#view.getUint16(this.#used + 4 + 8 * this.size, true);
  }

  /** Where the device area starts in `rings`. */
  get usedOffset(): number {
    return this.#used;
  }

  /** The used elements that came since the last call. */
  collect(): { id: number; length: number }[] {
    const elements = [];
    for (; this.#seenUsed !== this.usedIndex; this.#seenUsed = (this.#seenUsed + 1) & 0xffff) {
      const at = this.#used + 4 + 8 * (this.#seenUsed % this.size);
      elements.push({ id: this.#view.getUint32(at, true), length: this.#view.getUint32(at + 4, true) });
    }
    return elements;
  }

  /** Makes the buffers of these descriptors available for receiving, without a notification. */
  post(...indexes: number[]): void {
    for (const index of indexes) this.describe(index, this.empty(index));
    this.offer(...indexes);
  }

  /** Puts a frame behind an empty header into the buffer of a descriptor and makes it available. */
  put(index: number, frame: Uint8Array): void {
    this.describe(index, this.fill(index, frame));
    this.offer(index);
  }

  send(index: number, frame: Uint8Array): void {
    this.put(index, frame);
    this.notify();
  }

  /** The frames that were received since the last call, and the number of buffers that each header tells. */
  receive(): { frame: Uint8Array; numBuffers: number }[] {
    return this.collect().map(({ id, length }) => ({
      frame: this.slot(id).slice(HEADER, length),
      numBuffers: this.slot(id)[10] | (this.slot(id)[11] << 8),
    }));
  }
}

export function writeEntry(view: DataView, index: number, entry: Entry): void {
  view.setBigUint64(16 * index, BigInt(entry.address), true);
  view.setUint32(16 * index + 8, entry.length, true);
  view.setUint16(16 * index + 12, entry.flags ?? 0, true);
  view.setUint16(16 * index + 14, entry.next ?? 0, true);
}

export function bits(...features: SimulatedFeature[]): bigint {
  return features.reduce((sum, name) => sum | (1n << BigInt(SIMULATED_FEATURES[name])), 0n);
}

/** All that the device offers but the event index, so that the flags are in force. */
export const PLAIN = bits(
  'VIRTIO_F_VERSION_1',
  'VIRTIO_F_ACCESS_PLATFORM',
  'VIRTIO_NET_F_MAC',
  'VIRTIO_NET_F_STATUS',
  'VIRTIO_NET_F_MTU',
);
export const WITH_EVENT_IDX = PLAIN | bits('VIRTIO_F_RING_EVENT_IDX');
export const WITH_INDIRECT = PLAIN | bits('VIRTIO_F_RING_INDIRECT_DESC');

export interface BringUp {
  readonly features?: bigint;
  readonly size?: number;
  readonly handlers?: InterruptHandlers;
}

export interface Running<RingKind = Ring> {
  readonly transport: Transport;
  readonly rx: RingKind;
  readonly tx: RingKind;
}

export function negotiate(transport: Transport, features: bigint): void {
  transport.writeStatus(0);
  transport.writeStatus(ACKNOWLEDGE);
  transport.writeStatus(ACKNOWLEDGE | DRIVER);
  transport.writeDriverFeatures(features);
  transport.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK);
}

/** Initialises the device as 3.1.1 asks for, with both queues split, enabled and empty. */
export function bringUp(device: SimulatedDevice, options: BringUp = {}): Running {
  return initialise(device, PLAIN, options, Ring);
}

type RingClass<RingKind> = new (transport: Transport, queue: number, size: number) => RingKind;

export function initialise<RingKind extends RingMemory>(
  device: SimulatedDevice,
  defaultFeatures: bigint,
  options: BringUp,
  ringClass: RingClass<RingKind>,
): Running<RingKind> {
  const { transport } = device;
  negotiate(transport, options.features ?? defaultFeatures);
  if (options.handlers !== undefined) transport.enableInterrupts(2, options.handlers);
  const rx = new ringClass(transport, RX, options.size ?? 8);
  const tx = new ringClass(transport, TX, options.size ?? 8);
  transport.enableQueue(RX, rx.layout);
  transport.enableQueue(TX, tx.layout);
  transport.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
  return { transport, rx, tx };
}

/** The device must have recorded just this, and must have stopped. */
export function expectViolation(device: SimulatedDevice, sentence: RegExp): void {
  expect(device.violations).toEqual([expect.stringMatching(sentence)]);
  expect(device.transport.readStatus() & NEEDS_RESET).toBe(NEEDS_RESET);
}

/** Handlers that note what was called. */
export function recorder(): { calls: string[]; handlers: InterruptHandlers } {
  const calls: string[] = [];
  const handlers = {
    queue: (queue: number): void => void calls.push(`queue ${queue}`),
    config: (): void => void calls.push('config'),
  };
  return { calls, handlers };
}

/** Lets everything run that waits for the event loop now. */
export async function turn(): Promise<void> {
  for (let count = 0; count < 3; count++) await new Promise<void>((resolve) => setImmediate(resolve));
}

/** A frame of that length, its bytes telling it from others. */
export function frameOf(length: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 7 + seed) & 0xff);
}
