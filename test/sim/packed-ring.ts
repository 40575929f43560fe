/** A driver's side of the packed ring in as few lines as will do, written from the specification for these tests. */
import { createSimulatedDevice, type SimulatedDevice } from '../../src/sim/index.js';
import type { QueueLayout, Transport } from '../../src/transport/transport.js';
import {
  HEADER,
  NEXT,
  PLAIN,
  RingMemory,
  bits,
  initialise,
  type BringUp,
  type Entry,
  type Running,
} from './support.js';

export const [AVAIL, USED] = [1 << 7, 1 << 15];
/** Values of the event flags. */
export const [ENABLE, DISABLE, DESC] = [0, 1, 2];

export const PACKED = PLAIN | bits('VIRTIO_F_RING_PACKED');
export const PACKED_EVENT_IDX = PACKED | bits('VIRTIO_F_RING_EVENT_IDX');
export const PACKED_INDIRECT = PACKED | bits('VIRTIO_F_RING_INDIRECT_DESC');

/** What a used descriptor says. */
export interface Used {
  readonly id: number;
  readonly length: number;
  /** Whether the device says that it wrote into the buffer. */
  readonly written: boolean;
}

/** One packed virtqueue, with a buffer for each buffer id. */
export class PackedRing extends RingMemory {
  readonly layout: QueueLayout;
  readonly #view: DataView;
  readonly #events: number;
  readonly #lengths = new Map<number, number>();
  /** The next descriptor to make available, and to look for a used one, each with its wrap counter. */
  #available = { position: 0, wrap: true };
  #used = { position: 0, wrap: true };

  constructor(transport: Transport, queue: number, size: number) {
    super(transport, queue, size, 16 * size + 8);
    this.#events = 16 * size;
    this.#view = new DataView(this.rings.buffer);
    this.layout = {
      size,
      descriptorArea: this.rings.addressOf(0),
      driverArea: this.rings.addressOf(this.#events),
      deviceArea: this.rings.addressOf(this.#events + 4),
    };
  }

  /** Where the device area starts in `rings`. */
  get deviceOffset(): number {
    return this.#events + 4;
  }

  /** The position and wrap counter of the next descriptor that will be made available. */
  get next(): { position: number; wrap: boolean } {
    return { ...this.#available };
  }

  /** Writes a descriptor as it is given, marks included. */
  write(position: number, { address, length, flags = 0 }: Entry, id: number): void {
    this.#view.setBigUint64(16 * position, BigInt(address), true);
    this.#view.setUint32(16 * position + 8, length, true);
    this.#view.setUint16(16 * position + 12, id, true);
    this.#view.setUint16(16 * position + 14, flags, true);
  }

  flagsAt(position: number): number {
    return this.#view.getUint16(16 * position + 14, true);
  }

  /** Makes a list available, its first descriptor last. The ids of the others are nonsense, as they may be. */
  offer(id: number, ...entries: Entry[]): void {
    const writes = entries.map((entry, index) => {
      const { position, wrap } = this.#available;
      const last = index === entries.length - 1;
      const flags = (entry.flags ?? 0) | (last ? 0 : NEXT) | (wrap ? AVAIL : USED);
      this.#step(this.#available, 1);
      return () => this.write(position, { ...entry, flags }, last ? id : 0xdead);
    });
    for (const write of writes.reverse()) write();
    this.#lengths.set(id, entries.length);
  }

  /** The used descriptors that came since the last call. */
  collect(): Used[] {
    const seen: Used[] = [];
    while (this.#lengths.size > 0) {
      const { position, wrap } = this.#used;
      const flags = this.flagsAt(position);
      if ((flags & (AVAIL | USED)) !== (wrap ? AVAIL | USED : 0)) break;
      const id = this.#view.getUint16(16 * position + 12, true);
      seen.push({ id, length: this.#view.getUint32(16 * position + 8, true), written: (flags & 2) !== 0 });
      this.#step(this.#used, this.#lengths.get(id) ?? NaN);
      this.#lengths.delete(id);
    }
    return seen;
  }

  setEvents(flags: number, position = 0, wrap = false): void {
    this.#view.setUint16(this.#events, position | (wrap ? 1 << 15 : 0), true);
    this.#view.setUint16(this.#events + 2, flags, true);
  }

  /** What the device asks for. */
  get deviceEvents(): { flags: number; position: number; wrap: boolean } {
    const word = this.#view.getUint16(this.#events + 4, true);
    const flags = this.#view.getUint16(this.#events + 6, true);
    return { flags, position: word & 0x7fff, wrap: word >> 15 === 1 };
  }

  /** Makes buffers available for receiving, without a notification. */
  post(...ids: number[]): void {
    for (const id of ids) this.offer(id, this.empty(id));
  }

  put(id: number, frame: Uint8Array): void {
    this.offer(id, this.fill(id, frame));
  }

  send(id: number, frame: Uint8Array): void {
    this.put(id, frame);
    this.notify();
  }

  /** The frames that were received since the last call. */
  receive(): Uint8Array[] {
    return this.collect().map(({ id, length }) => this.slot(id).slice(HEADER, length));
  }

  #step(place: { position: number; wrap: boolean }, count: number): void {
    place.position += count;
    if (place.position < this.size) return;
    place.position -= this.size;
    place.wrap = !place.wrap;
  }
}

/** A device that offers all that these tests use, nobody at the other end of its wire, and isolation. */
export function packedDevice(options: Parameters<typeof createSimulatedDevice>[0] = {}): SimulatedDevice {
  const features = PACKED_EVENT_IDX | PACKED_INDIRECT | bits('VIRTIO_NET_F_MRG_RXBUF');
  return createSimulatedDevice({ features, isolation: true, host: null, ...options });
}

/** Initialises the device with both queues packed, enabled and empty. */
export function bringUpPacked(device: SimulatedDevice, options: BringUp = {}): Running<PackedRing> {
  return initialise(device, PACKED, options, PackedRing);
}
