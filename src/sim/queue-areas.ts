/** The three parts of a virtqueue in memory, whatever the ring format (VIRTIO 1.3, 2.7, 2.8.10.1). */
import type { DeviceAddress } from '../memory/dma.js';
import type { QueueLayout } from '../transport/transport.js';
import { segmentAt, type Segment } from './chain.js';
import { firstDifference } from './isolation.js';
import { hex, type SimulatedMemory, type SimulatedRegion } from './memory.js';
import { DriverViolation } from './violation.js';

/** Length and alignment of a part, in bytes. */
export interface AreaShape {
  readonly length: number;
  readonly alignment: number;
}

/** The shapes of the parts that a ring format has. */
export type AreaShapes = Readonly<Record<'descriptors' | 'driver' | 'device', AreaShape>>;

export class QueueAreas {
  readonly descriptors: Segment;
  readonly driver: Segment;
  readonly device: Segment;
  readonly #all: readonly Segment[];
  /** With isolation: what the device last wrote into its area. */
  readonly #deviceCopy: Uint8Array | undefined;

  /** @throws DriverViolation where the layout is not one that the specification allows */
  constructor(memory: SimulatedMemory, layout: QueueLayout, shapes: AreaShapes, isolation: boolean) {
    const locate = (name: string, at: DeviceAddress, { length, alignment }: AreaShape): Segment => {
      if (at.lo % alignment === 0) return segmentAt(memory, name, at, length);
      throw new DriverViolation(`${name} at ${hex(at.lo)} is not aligned to ${alignment} bytes`);
    };
    this.descriptors = locate('the descriptor area', layout.descriptorArea, shapes.descriptors);
    this.driver = locate('the driver area', layout.driverArea, shapes.driver);
    this.device = locate('the device area', layout.deviceArea, shapes.device);
    this.#all = [this.descriptors, this.driver, this.device];
    refuseOverlap(this.#all);
    this.#deviceCopy = isolation ? this.device.bytes.slice() : undefined;
  }

  /** Checks that the memory is still there and, with isolation, that the driver kept out of the device's part. */
  check(): void {
    for (const area of this.#all) {
      if (area.bytes.length === area.length) continue;
      throw new DriverViolation(
        `the memory of the queue at ${hex(area.address)} was freed while it was enabled`,
      );
    }
    if (this.#deviceCopy === undefined) return;
    const at = firstDifference(this.device.bytes, this.#deviceCopy);
    if (at !== undefined) throw new DriverViolation(`the driver altered byte ${at} of the device area`);
  }

  /** To be called when the device has written into its area. */
  remember(): void {
    this.#deviceCopy?.set(this.device.bytes);
  }

  uses(region: SimulatedRegion): boolean {
    return this.#all.some((area) => area.region === region);
  }
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
