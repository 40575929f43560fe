/**
 * Both sides of a ring, with bursts, single buffers and chains on it in any mixture, against a model that knows what each
 * side must see: which buffers the device finds where, which come back with which lengths, and what is free meanwhile.
 */
import fc from 'fast-check';
import { expect } from 'vitest';
import { BufferTable } from '../../src/virtqueue/buffer-table.js';
import { DescriptorChain } from '../../src/virtqueue/descriptor-chain.js';
import { NOTHING_USED, type Virtqueue } from '../../src/virtqueue/virtqueue.js';
import type { Part, RingDevice, Taken } from './device.js';

export interface BurstSetup {
  readonly size: number;
  readonly indirectEntries: number;
}

export interface Sides {
  readonly ring: Virtqueue;
  /** A device that knows nothing of what was in the ring before. */
  readonly attach: () => RingDevice;
  /** The device returns buffers in the order in which it got them, several by one entry. */
  readonly inOrder: boolean;
}

/** A buffer that was added, and not taken back. */
interface Added {
  readonly token: number;
  readonly parts: readonly Part[];
  /** In the ring itself. */
  readonly descriptors: number;
}

/** More than any of the rings holds, so that a buffer comes to lie in one descriptor and another. */
const BUFFERS = 40;
const MOST_PARTS = 4;

class Table extends BufferTable {
  /** @param at - makes the addresses those of this table alone; some have the highest bit of their low half set */
  constructor(at: number) {
    super(BUFFERS);
    for (let token = 0; token < BUFFERS; token += 1) {
      this.set(token, (at << 28) + token * 4096, at, 100 + token);
    }
  }

  lo(token: number): number {
    return this.halves[token << 1];
  }

  hi(token: number): number {
    return this.halves[(token << 1) + 1];
  }

  partOf(token: number, writable: boolean): Part {
    const address = this.hi(token) * 2 ** 32 + (this.lo(token) >>> 0);
    return { address, length: this.lengths[token], writable };
  }
}

export class BurstWorld {
  private readonly ring: Virtqueue;
  private readonly sides: Sides;
  private readonly setup: BurstSetup;
  private device: RingDevice;
  private readonly tables = [new Table(1), new Table(9), new Table(10)];
  /** Buffers that are not in the ring, those that came back last at the end. */
  private readonly idle = Array.from({ length: BUFFERS }, (_, token) => token);
  /** By where they are: added, published, with the device, returned. */
  private readonly unpublished: Added[] = [];
  private readonly available: Added[] = [];
  private readonly atDevice: { id: number; added: Added }[] = [];
  private readonly returned: { length: number; added: Added }[] = [];

  constructor(setup: BurstSetup, sides: Sides) {
    this.setup = setup;
    this.sides = sides;
    this.ring = sides.ring;
    this.device = sides.attach();
  }

  /** A burst of buffers that the device writes, from a table that stays as it is. */
  receiveBurst({ count, pick }: Step): void {
    this.burst(this.tables[pick % 2], count, true);
  }

  /** A burst of buffers that the device reads, which begin elsewhere each time, and mostly are as long as before. */
  transmitBurst({ count, pick }: Step): void {
    const table = this.tables[pick % 3];
    for (const token of this.idle.slice(-count)) {
      const length = pick % 5 === 0 ? 1 + (pick % 1500) : table.lengths[token];
      table.set(token, (table.lo(token) & ~0xfff) + (pick % 3) * 64, table.hi(token), length);
    }
    this.burst(table, count, false);
  }

  addOne({ pick }: Step): void {
    const token = this.idle.at(-1);
    if (token === undefined) return;
    const [table] = this.tables;
    const writable = pick % 2 === 0;
    const part = table.partOf(token, writable);
    const add = writable ? 'addWritable' : 'addReadable';
    const isAdded = this.ring[add](token, table.lo(token), table.hi(token), table.lengths[token]);
    expect(isAdded).toBe(this.free > 0);
    if (isAdded) this.note([{ token: this.idle.pop() ?? -1, parts: [part], descriptors: 1 }]);
  }

  addChain({ count, pick }: Step): void {
    const token = this.idle.at(-1);
    const parts = 1 + (count % MOST_PARTS);
    if (token === undefined || parts > this.setup.size) return;
    const chain = new DescriptorChain(MOST_PARTS);
    const expected: Part[] = [];
    for (let part = 0; part < parts; part += 1) {
      const writable = part >= pick % (parts + 1);
      if (writable) chain.addWritable(token * 16 + part, 3, 10);
      else chain.addReadable(token * 16 + part, 3, 10);
      expected.push({ address: 3 * 2 ** 32 + token * 16 + part, length: 10, writable });
    }
    const isIndirect = parts > 1 && parts <= this.setup.indirectEntries;
    const descriptors = isIndirect ? 1 : parts;
    const fits = descriptors <= this.free;
    expect(this.ring.addChain(token, chain)).toBe(fits);
    if (fits) this.note([{ token: this.idle.pop() ?? -1, parts: expected, descriptors }]);
  }

  publish(): void {
    this.ring.publish();
    this.available.push(...this.unpublished.splice(0));
  }

  deviceTakes({ count }: Step): void {
    for (let taken = 0; taken < count; taken += 1) {
      const found = this.device.take();
      const added = this.available.shift();
      expect(found?.parts).toEqual(added?.parts);
      if (found === undefined || added === undefined) return;
      this.atDevice.push({ id: found.id, added });
    }
  }

  deviceReturns({ count, pick }: Step): void {
    if (this.sides.inOrder) this.returnBatch(count);
    else {
      for (let n = 0; n < count && this.atDevice.length > 0; n += 1) {
        // Mostly in order, as most devices do.
        const [one] = this.atDevice.splice(pick % 3 === 0 ? (pick + n) % this.atDevice.length : 0, 1);
        const length = used(one.added, pick);
        this.device.return(one.id, length);
        this.returned.push({ length, added: one.added });
      }
    }
  }

  takeBurst({ count }: Step): void {
    // Nothing is written behind what was taken.
    const tokens = new Int32Array(count + 1).fill(-7);
    const lengths = new Int32Array(count + 1).fill(-7);
    const expected = this.returned.splice(0, count);
    expect(this.ring.hasUsed()).toBe(expected.length > 0 || this.returned.length > 0);
    const taken = this.ring.takeBurst(tokens, lengths, count);
    expect(this.ring.broken).toBeUndefined();
    expect([...tokens]).toEqual(
      padded(
        expected.map(({ added }) => added.token),
        count + 1,
      ),
    );
    expect(taken).toBe(expected.length);
    // The length of what the device only reads means nothing.
    expected.forEach(({ length, added }, at) => {
      if (writableOf(added) > 0) expect(lengths[at]).toBe(length);
    });
    expect([...lengths.subarray(taken)]).toEqual(padded([], count + 1 - taken));
    this.idle.push(...expected.map(({ added }) => added.token));
  }

  takeOne(): void {
    const expected = this.returned.shift();
    expect(this.ring.take()).toBe(expected?.added.token ?? NOTHING_USED);
    if (expected === undefined) return;
    expect(this.ring.usedLength).toBe(expected.length);
    this.idle.push(expected.added.token);
  }

  /** Now and then only: what comes before and after it is to be long. */
  reset({ pick }: Step): void {
    if (pick % 4 !== 0) return;
    const expected = this.outstanding.map(({ token }) => token).sort(ascending);
    expect(this.ring.outstandingTokens().sort(ascending)).toEqual(expected);
    const given: number[] = [];
    this.ring.reset((token) => given.push(token));
    expect([...given].sort(ascending)).toEqual(expected);
    for (const list of [this.unpublished, this.available, this.atDevice, this.returned]) list.length = 0;
    this.idle.push(...given);
    this.device = this.sides.attach();
  }

  /** What holds after each step. */
  check(): void {
    const { ring, outstanding } = this;
    expect(ring.broken).toBeUndefined();
    expect(ring.outstanding).toBe(outstanding.length);
    expect(ring.freeDescriptors).toBe(this.free);
    expect(outstanding.length + this.idle.length).toBe(BUFFERS);
  }

  /** All comes back in the end. */
  finish(): void {
    const all = { count: BUFFERS, pick: 1 };
    this.publish();
    this.deviceTakes(all);
    while (this.atDevice.length > 0) this.deviceReturns(all);
    this.takeBurst(all);
    this.check();
    expect([...this.idle].sort(ascending)).toEqual(Array.from({ length: BUFFERS }, (_, token) => token));
    expect(this.ring.freeDescriptors).toBe(this.setup.size);
  }

  private burst(table: Table, count: number, writable: boolean): void {
    const given = this.idle.slice(-count);
    // What stands behind the count is not looked at.
    const tokens = Int32Array.from([...given, BUFFERS + 1]);
    const expected = Math.min(given.length, this.free);
    const add = writable ? 'addWritableBurst' : 'addReadableBurst';
    expect(this.ring[add](tokens, given.length, table)).toBe(expected);
    const added = given.slice(0, expected);
    this.idle.splice(this.idle.length - given.length, expected);
    this.note(added.map((token) => ({ token, parts: [table.partOf(token, writable)], descriptors: 1 })));
  }

  private returnBatch(count: number): void {
    const batch = this.atDevice.splice(0, count);
    const last = batch.at(-1);
    if (last === undefined) return;
    const length = used(last.added, count);
    this.device.returnBatch(
      batch.map(({ id }) => id),
      length,
    );
    for (const one of batch) {
      this.returned.push({ length: one === last ? length : writableOf(one.added), added: one.added });
    }
  }

  private note(added: readonly Added[]): void {
    this.unpublished.push(...added);
  }

  private get outstanding(): Added[] {
    return [
      ...this.returned.map(({ added }) => added),
      ...this.atDevice.map(({ added }) => added),
      ...this.available,
      ...this.unpublished,
    ];
  }

  private get free(): number {
    return this.outstanding.reduce((free, { descriptors }) => free - descriptors, this.setup.size);
  }
}

export interface Step {
  readonly count: number;
  readonly pick: number;
}

type StepName = Exclude<keyof BurstWorld, 'check' | 'finish'>;

const step = (
  name: StepName,
  weight: number,
): { weight: number; arbitrary: fc.Arbitrary<Step & { do: StepName }> } => ({
  weight,
  arbitrary: fc.record({ do: fc.constant(name), count: fc.integer({ min: 1, max: 20 }), pick: fc.nat() }),
});

const SCRIPTS = fc.array(
  fc.oneof(
    step('receiveBurst', 3),
    step('transmitBurst', 3),
    step('addOne', 1),
    step('addChain', 1),
    step('publish', 4),
    step('deviceTakes', 4),
    step('deviceReturns', 4),
    step('takeBurst', 4),
    step('takeOne', 1),
    step('reset', 1),
  ),
  { minLength: 1, maxLength: 200 },
);

/** Plays scripts of all kinds on rings of those sizes. */
export function playBursts(sizes: readonly number[], make: (setup: BurstSetup) => Sides): void {
  const setups = fc.record({
    size: fc.constantFrom(...sizes),
    indirectEntries: fc.constantFrom(0, 2, MOST_PARTS),
  });
  fc.assert(
    fc.property(setups, SCRIPTS, (setup, script) => {
      const world = new BurstWorld(setup, make(setup));
      for (const { do: name, ...values } of script) {
        world[name](values);
        world.check();
      }
      world.finish();
    }),
    { numRuns: 300 },
  );
}

/**
 * Sends so many buffers through a ring, in bursts of many sizes that fill it to the brim now and then, that all indexes
 * wrap; says how many it were. The device finds each where it should, and what comes back is what was added.
 */
export function goRound(size: number, { ring, attach }: Sides, rounds: number): number {
  const device = attach();
  const table = new Table(1);
  const lengths = new Int32Array(size);
  const back = new Int32Array(size);
  let through = 0;
  for (let round = 0; through < rounds; round += 1) {
    const count = 1 + (round % size);
    const tokens = Int32Array.from(
      { length: count },
      (_, at) => (through + at) % Math.min(BUFFERS, size + 1),
    );
    const added = ring.addWritableBurst(tokens, count, table);
    ring.publish();
    const found: Taken[] = [];
    for (let taken = device.take(); taken !== undefined; taken = device.take()) found.push(taken);
    for (const { id } of found) device.return(id, 0);
    const taken = ring.takeBurst(back, lengths, size);
    const isAsAdded =
      added === count &&
      found.length === count &&
      taken === count &&
      found.every(({ parts }, at) => parts[0].address % 2 ** 32 === table.lo(tokens[at])) &&
      tokens.every((token, at) => back[at] === token);
    if (!isAsAdded) return through;
    through += count;
  }
  return through;
}

function writableOf({ parts }: Added): number {
  return parts.filter(({ writable }) => writable).reduce((sum, { length }) => sum + length, 0);
}

/** A length that the device may say that it has written. */
function used(added: Added, pick: number): number {
  return pick % (writableOf(added) + 1);
}

function padded(values: readonly number[], length: number): number[] {
  return [...values, ...Array.from({ length: length - values.length }, () => -7)];
}

function ascending(one: number, other: number): number {
  return one - other;
}
