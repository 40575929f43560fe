/** Both sides of a ring, driven step by step in any order, against a model of what each of them must see. */
import fc from 'fast-check';
import { expect } from 'vitest';
import { DescriptorChain } from '../../src/virtqueue/descriptor-chain.js';
import { NOTHING_USED, type Virtqueue } from '../../src/virtqueue/virtqueue.js';
import type { RingDevice } from './device.js';

export interface Setup {
  readonly size: number;
  readonly eventIndex: boolean;
  readonly indirectEntries: number;
  /** Rounds before the script, which bring the indexes to where they wrap. */
  readonly start: number;
}

export type Sides = [ring: Virtqueue, device: RingDevice];

/** A buffer that the device has, and how many bytes it may write. */
interface AtDevice {
  readonly id: number;
  readonly token: number;
  readonly writable: number;
}

/** Both sides of a ring, and what a bystander knows of its buffers. */
export class World {
  protected readonly ring: Virtqueue;
  protected readonly device: RingDevice;
  private readonly size: number;
  private nextToken = 0;
  private readonly unpublished: number[] = [];
  private readonly available = new Set<number>();
  protected readonly atDevice: AtDevice[] = [];
  protected readonly returned: { token: number; length: number }[] = [];
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
    this.interrupted(this.device.return(id, length));
    this.returned.push({ token, length });
  }

  /** A driver that sleeps must be interrupted. */
  protected interrupted(interrupt: boolean): void {
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

/**
 * A device that returns buffers in order, several by one entry where it used all but the last one wholly
 * (VIRTIO 1.3, 2.7.9, 2.8.8).
 */
export class InOrderWorld extends World {
  override deviceReturns({ pick }: { pick: number }): void {
    if (this.atDevice.length === 0) return;
    const batch = this.atDevice.splice(0, 1 + (pick % this.atDevice.length));
    const last = batch.at(-1)?.writable ?? 0;
    const length = last === 0 ? 0 : pick % (last + 1);
    this.interrupted(
      this.device.returnBatch(
        batch.map(({ id }) => id),
        length,
      ),
    );
    for (const [index, { token, writable }] of batch.entries()) {
      this.returned.push({ token, length: index === batch.length - 1 ? length : writable });
    }
  }
}

const step = <Name extends keyof World>(
  name: Name,
  weight: number,
): { weight: number; arbitrary: fc.Arbitrary<{ do: Name; parts: number; pick: number }> } => ({
  weight,
  arbitrary: fc.record({ do: fc.constant(name), parts: fc.integer({ min: 1, max: 4 }), pick: fc.nat() }),
});

export const SCRIPTS = fc.array(
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

export function setups(sizes: number[], starts: number[]): fc.Arbitrary<Setup> {
  return fc.record({
    size: fc.constantFrom(...sizes),
    eventIndex: fc.boolean(),
    indirectEntries: fc.constantFrom(0, 2, 4),
    start: fc.constantFrom(...starts),
  });
}
