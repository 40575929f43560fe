import { describe, expect, it } from 'vitest';
import { createSimulatedDevice, type SimulatedDevice, type SimulatedFeature } from '../../src/sim/index.js';
import type { DmaRegion } from '../../src/memory/dma.js';
import type { QueueLayout } from '../../src/transport/transport.js';
import { expectViolation, frameOf, NEXT, WRITE, writeEntry, type Entry } from './support.js';

const SIZE = 16;
const AVAILABLE = 16 * SIZE;
const USED = 4096;

/** A queue as a legacy driver lays it out, in two pages. */
class LegacyRing {
  readonly ring: DmaRegion;
  readonly buffers: DmaRegion;
  readonly layout: QueueLayout;
  readonly #device: SimulatedDevice;
  readonly #queue: number;
  readonly #view: DataView;
  #index = 0;

  constructor(device: SimulatedDevice, queue: number) {
    this.#device = device;
    this.#queue = queue;
    this.ring = device.memory.allocate(2 * USED, { contiguous: true });
    this.buffers = device.memory.allocate(4096);
    this.#view = new DataView(this.ring.buffer);
    this.layout = {
      size: SIZE,
      descriptorArea: this.ring.addressOf(0),
      driverArea: this.ring.addressOf(AVAILABLE),
      deviceArea: this.ring.addressOf(USED),
    };
  }

  /** Describes pieces of the page of buffers, one behind the other, as a chain, and makes it available. */
  offer(...lengths: (number | { readonly writable: number })[]): void {
    let at = 0;
    for (const [index, piece] of lengths.entries()) {
      const length = typeof piece === 'number' ? piece : piece.writable;
      const more = index < lengths.length - 1 ? NEXT : 0;
      const flags = more | (typeof piece === 'number' ? 0 : WRITE);
      const { lo, hi } = this.buffers.addressOf(at);
      const entry: Entry = { address: hi * 2 ** 32 + lo, length, flags, next: index + 1 };
      writeEntry(this.#view, index, entry);
      at += length;
    }
    this.#view.setUint16(AVAILABLE + 4 + 2 * (this.#index % SIZE), 0, true);
    this.#view.setUint16(AVAILABLE + 2, ++this.#index, true);
    this.#device.transport.notify(this.#queue);
  }

  get bytes(): Uint8Array {
    return new Uint8Array(this.buffers.buffer);
  }

  get usedIndex(): number {
    return this.#view.getUint16(USED + 2, true);
  }
}

function start(
  features: SimulatedFeature[],
  behindIommu = false,
): { device: SimulatedDevice; rings: LegacyRing[] } {
  const device = createSimulatedDevice({ legacy: true, host: null, features, queueSize: SIZE, behindIommu });
  const { transport } = device;
  transport.writeStatus(1);
  transport.writeStatus(3);
  transport.writeDriverFeatures(transport.readDeviceFeatures());
  const rings = Array.from({ length: transport.queueCount }, (_, queue) => new LegacyRing(device, queue));
  for (const [queue, ring] of rings.entries()) transport.enableQueue(queue, ring.layout);
  transport.writeStatus(7);
  return { device, rings };
}

describe('a legacy device', () => {
  it('takes frames behind a header of 10 bytes in a descriptor of its own', () => {
    const { device, rings } = start([]);
    const sent: Uint8Array[] = [];
    device.onTransmit((frame) => sent.push(frame));
    rings[1].bytes.set(frameOf(60), 10);
    rings[1].offer(10, 60);
    expect(sent).toEqual([frameOf(60)]);
    rings[0].offer({ writable: 10 }, { writable: 1514 });
    expect(device.inject(frameOf(100, 3))).toBe(true);
    expect(rings[0].bytes.slice(0, 10)).toEqual(new Uint8Array(10));
    expect(rings[0].bytes.slice(10, 110)).toEqual(frameOf(100, 3));
    expect(rings[0].usedIndex).toBe(1);
    expect(device.violations).toEqual([]);
  });

  it('has a header of 12 bytes where receive buffers merge', () => {
    const { device, rings } = start(['VIRTIO_NET_F_MRG_RXBUF', 'VIRTIO_F_ANY_LAYOUT']);
    rings[0].offer({ writable: 1526 });
    expect(device.inject(frameOf(60))).toBe(true);
    expect(rings[0].bytes.slice(10, 14)).toEqual(Uint8Array.of(1, 0, ...frameOf(2)));
    expect(device.violations).toEqual([]);
  });

  it('takes commands in pieces of their own', () => {
    const { device, rings } = start(['VIRTIO_NET_F_CTRL_VQ', 'VIRTIO_NET_F_CTRL_RX']);
    rings[2].bytes.set([0, 0, 1, 0xff]);
    rings[2].offer(2, 1, { writable: 1 });
    expect(rings[2].bytes[3]).toBe(0);
    const table = [1, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    rings[2].bytes.set([1, 0, ...table, 0xff]);
    rings[2].offer(2, 10, 4, { writable: 1 });
    expect(rings[2].bytes[16]).toBe(0);
    expect(device.violations).toEqual([]);
    rings[2].offer(12, 4, { writable: 1 });
    expectViolation(device, /lies in descriptors of 12, 4, 1 bytes: .* must have 2, 10, 4, 1$/);
    expect(rings[2].bytes[16]).toBe(1);
  });

  it('finds out a driver that has the header in one piece with the frame', () => {
    const { device, rings } = start([]);
    rings[1].offer(70);
    expectViolation(device, /has 70 bytes: without VIRTIO_F_ANY_LAYOUT it must be the header, 10/);
    const other = start([]);
    other.rings[0].offer({ writable: 1526 });
    expectViolation(other.device, /the receive buffer of .* it must be the header, 10/);
  });

  it('finds out a driver that gives it another size of queue, or addresses of the IOMMU', () => {
    const device = createSimulatedDevice({ legacy: true, behindIommu: false });
    device.transport.writeStatus(1);
    device.transport.writeStatus(3);
    device.transport.enableQueue(0, new LegacyRing(device, 0).layout);
    expectViolation(device, /a size of 16 is not the 256 that a legacy queue is fixed to/);
    expect(start([], true).device.violations[0]).toMatch(
      /gives iova addresses to a device that does not go through the IOMMU/,
    );
  });
});
