/** Every interleaving of what both sides do, against a model: nothing lost, nothing twice, no missed wake-up. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DescriptorChain } from '../../src/virtqueue/descriptor-chain.js';
import { PackedVirtqueue } from '../../src/virtqueue/packed-virtqueue.js';
import { SplitVirtqueue } from '../../src/virtqueue/split-virtqueue.js';
import { NOTHING_USED, type Virtqueue } from '../../src/virtqueue/virtqueue.js';
import { PlainMemory } from '../support/plain-memory.js';
import type { RingDevice } from './device.js';
import { PackedDevice } from './packed-device.js';
import { SplitDevice } from './split-device.js';

interface Setup {
  readonly size: number;
  readonly eventIndex: boolean;
  readonly indirectEntries: number;
  /** Rounds before the script, which bring the indexes to where they wrap. */
  readonly start: number;
}

type Sides = [ring: Virtqueue, device: RingDevice];

function split({ size, eventIndex, indirectEntries }: Setup): Sides {
  const memory = new PlainMemory();
  const ring = new SplitVirtqueue(memory, { index: 0, size, eventIndex, indirectEntries });
  return [ring, new SplitDevice(memory, ring.layout, eventIndex)];
}

function packed({ size, eventIndex, indirectEntries }: Setup): Sides {
  const memory = new PlainMemory();
  const ring = new PackedVirtqueue(memory, { index: 0, size, eventIndex, indirectEntries });
  return [ring, new PackedDevice(memory, ring.layout, eventIndex)];
}

/** Both sides of a ring, and what a bystander knows of its buffers. */
class World {
  private readonly ring: Virtqueue;
  private readonly device: RingDevice;
  private readonly size: number;
  private nextToken = 0;
  private readonly unpublished: number[] = [];
  private readonly available = new Set<number>();
  private readonly atDevice: { id: number; token: number; writable: number }[] = [];
  private readonly returned: { token: number; length: number }[] = [];
  private deviceAsleep = false;
  private driverAsleep = false;

  constructor(setup: Setup, [ring, device]: Sides) {
    this.ring = ring;
    this.device = device;
    this.size = setup.size;
    for (let round = 0; round < setup.start; round += 1) {
      ring.addReadable(0, 0, 0, 1);
      ring.publish();
      device.return(device.take()?.id ?? -1, 0);
      ring.take();
    }
    ring.needsNotification();
  }

  add({ parts }: { parts: number }): void {
    if (parts > this.size) return;
    const token = this.nextToken;
    const chain = new DescriptorChain(4);
    // The address of every part tells the token, so that the device can say whose buffer it is.
    for (let part = 0; part < parts; part += 1) {
      if (part < parts >> 1) chain.addReadable(token * 16 + part, 0, 8);
      else chain.addWritable(token * 16 + part, 0, 8);
    }
    const free = this.ring.freeDescriptors;
    if (!this.ring.addChain(token, chain)) {
      expect(free).toBeLessThan(parts);
      expect(this.ring.freeDescriptors).toBe(free);
      return;
    }
    this.nextToken += 1;
    this.unpublished.push(token);
  }

  publish(): void {
    this.ring.publish();
    const some = this.unpublished.length > 0;
    for (const token of this.unpublished.splice(0)) this.available.add(token);
    const notified = this.ring.needsNotification();
    // A device that sleeps must be woken when there is something new.
    if (this.deviceAsleep && some) expect(notified).toBe(true);
    if (notified) this.deviceAsleep = false;
  }

  deviceTakes(): void {
    if (this.deviceAsleep) return;
    const taken = this.device.take();
    if (taken === undefined) {
      expect(this.available.size).toBe(0);
      return;
    }
    const token = Math.floor(taken.parts[0].address / 16);
    expect(taken.parts.map(({ address }) => address)).toEqual(
      taken.parts.map((_, part) => token * 16 + part),
    );
    expect(this.available.delete(token)).toBe(true);
    const writable = taken.parts.filter((part) => part.writable).length * 8;
    this.atDevice.push({ id: taken.id, token, writable });
  }

  deviceReturns({ pick }: { pick: number }): void {
    if (this.atDevice.length === 0) return;
    const [{ id, token, writable }] = this.atDevice.splice(pick % this.atDevice.length, 1);
    const length = writable === 0 ? 0 : pick % (writable + 1);
    const interrupt = this.device.return(id, length);
    this.returned.push({ token, length });
    // A driver that sleeps must be interrupted.
    if (this.driverAsleep) expect(interrupt).toBe(true);
    if (interrupt) this.driverAsleep = false;
  }

  take(): void {
    const expected = this.returned.shift();
    expect(this.ring.hasUsed()).toBe(expected !== undefined);
    const token = this.ring.take();
    expect(this.ring.broken).toBeUndefined();
    expect(token).toBe(expected?.token ?? NOTHING_USED);
    if (expected !== undefined) expect(this.ring.usedLength).toBe(expected.length);
  }

  driverSleeps(): void {
    const moreCame = this.ring.requestInterrupt();
    expect(moreCame).toBe(this.returned.length > 0);
    this.driverAsleep = !moreCame;
  }

  driverSuppresses(): void {
    this.ring.suppressInterrupts();
    this.driverAsleep = false;
  }

  deviceSleeps(): void {
    this.deviceAsleep = !this.device.sleep();
  }

  deviceSuppresses(): void {
    this.device.suppressNotifications();
    this.deviceAsleep = false;
  }

  finish(): void {
    this.publish();
    this.deviceAsleep = false;
    while (this.available.size > 0) this.deviceTakes();
    while (this.atDevice.length > 0) this.deviceReturns({ pick: 1 });
    while (this.returned.length > 0) this.take();
    this.take();
    expect(this.ring.outstanding).toBe(0);
    expect(this.ring.freeDescriptors).toBe(this.size);
  }
}

const step = <Name extends keyof World>(
  name: Name,
  weight: number,
): { weight: number; arbitrary: fc.Arbitrary<{ do: Name; parts: number; pick: number }> } => ({
  weight,
  arbitrary: fc.record({ do: fc.constant(name), parts: fc.integer({ min: 1, max: 4 }), pick: fc.nat() }),
});

const SCRIPTS = fc.array(
  fc.oneof(
    step('add', 4),
    step('publish', 3),
    step('deviceTakes', 4),
    step('deviceReturns', 4),
    step('take', 3),
    step('driverSleeps', 1),
    step('driverSuppresses', 1),
    step('deviceSleeps', 1),
    step('deviceSuppresses', 1),
  ),
  { minLength: 1, maxLength: 300 },
);

function setups(sizes: number[], starts: number[]): fc.Arbitrary<Setup> {
  return fc.record({
    size: fc.constantFrom(...sizes),
    eventIndex: fc.boolean(),
    indirectEntries: fc.constantFrom(0, 2, 4),
    start: fc.constantFrom(...starts),
  });
}

describe.each([
  { name: 'split', make: split, setup: setups([1, 2, 4, 8], [0, 0x7ffe, 0xfffc, 0xffff]) },
  { name: 'packed', make: packed, setup: setups([1, 2, 3, 5, 8], [0, 1, 4, 7, 0xffff]) },
])('any interleaving on a $name ring', ({ make, setup }) => {
  it('loses nothing, repeats nothing, and misses no wake-up', () => {
    fc.assert(
      fc.property(setup, SCRIPTS, (chosen, script) => {
        const world = new World(chosen, make(chosen));
        for (const { do: name, ...values } of script) world[name](values);
        world.finish();
      }),
      { numRuns: 400 },
    );
  }, 120_000);
});
