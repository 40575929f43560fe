/** Bursts on all kinds of rings: alone, and mixed with single buffers and chains, whatever the device does. */
import { describe, expect, it } from 'vitest';
import { BufferTable } from '../../src/virtqueue/buffer-table.js';
import { SplitVirtqueue } from '../../src/virtqueue/split-virtqueue.js';
import { NOTHING_USED } from '../../src/virtqueue/virtqueue.js';
import { PlainMemory } from '../support/plain-memory.js';
import { KINDS } from './burst-sides.js';
import { goRound, playBursts } from './burst-world.js';
import { PackedDevice } from './packed-device.js';
import type { Taken } from './device.js';
import { SplitDevice } from './split-device.js';

describe.each(KINDS)('bursts on a $name ring', ({ make, sizes }) => {
  it('lose nothing, repeat nothing, and show the device what was added, among buffers of all kinds', () => {
    playBursts(sizes, make);
  }, 120_000);

  it.each(sizes)('go round and round, with %i descriptors', (size) => {
    // Far enough for 16-bit indexes to wrap.
    expect(goRound(size, make({ size, indirectEntries: 0 }), 70_000)).toBeGreaterThanOrEqual(70_000);
  });
});

/** Five buffers of 100 bytes, a page apart. */
function buffersFrom(address: number): BufferTable {
  const table = new BufferTable(5);
  for (let token = 0; token < 5; token += 1) table.set(token, address + token * 0x1000, 0, 100);
  return table;
}

const buffers = buffersFrom(0x1000);
const ALL = Int32Array.of(0, 1, 2, 3, 4);

/** What a device returns as the third buffer of a burst, by what it names it and the length, and how that is called. */
const WRONG = [
  { what: 'one that there is not', id: 8, length: 10, how: ' 8 of 8' },
  { what: 'one far beyond', id: 0xffff, length: 10, how: ' 65535 of 8' },
  { what: 'one that it never had', id: 6, length: 10, how: ' 6, which it did not have' },
  { what: 'one that it has returned in this burst', id: 1, length: 10, how: ' 1, which it did not have' },
  { what: 'one that it wrote beyond', id: 2, length: 101, how: 'wrote 101 bytes into a buffer of 100' },
  { what: 'one with a negative length', id: 2, length: 0x8000_0000, how: 'wrote 2147483648 bytes' },
];

describe.each(KINDS)('a device that breaks the protocol inside of a burst on a $name ring', ({ make }) => {
  it.each(WRONG)('with $what: the two before it are handed out first', ({ id, length, how }) => {
    const { ring, attach } = make({ size: 8, indirectEntries: 0 });
    const device = attach() as SplitDevice | PackedDevice;
    expect(ring.addWritableBurst(ALL, 5, buffers)).toBe(5);
    ring.publish();
    while (device.take() !== undefined);
    for (const good of [0, 1]) device.return(good, 50 + good);
    if (device instanceof PackedDevice) device.write(id, length);
    else {
      device.writeEntry(id, length);
      device.advance(1);
    }
    const tokens = new Int32Array(8).fill(-7);
    const lengths = new Int32Array(8).fill(-7);
    expect(ring.takeBurst(tokens, lengths, 8)).toBe(2);
    expect([...tokens.subarray(0, 2), ...lengths.subarray(0, 2)]).toEqual([0, 1, 50, 51]);
    expect(ring.broken).toMatchObject({ code: 'QUEUE_BROKEN' });
    expect(ring.broken?.message).toContain(how);
    expect(ring).toMatchObject({ outstanding: 3, freeDescriptors: 5 });
    expect(ring.takeBurst(tokens, lengths, 8)).toBe(0);
    expect(ring.take()).toBe(NOTHING_USED);
    expect(ring.hasUsed()).toBe(false);
    const rest: number[] = [];
    ring.reset((token) => rest.push(token));
    expect(rest.sort()).toEqual([2, 3, 4]);
    expect(ring).toMatchObject({ outstanding: 0, freeDescriptors: 8, broken: undefined });
  });
});

describe('a burst that is longer than what is free', () => {
  it.each(KINDS)('is added as far as there is room, on a $name ring', ({ make }) => {
    const { ring, attach } = make({ size: 4, indirectEntries: 0 });
    const device = attach();
    ring.addReadable(9, 1, 0, 1);
    expect(ring.addReadableBurst(ALL, 5, buffers)).toBe(3);
    expect(ring.addReadableBurst(ALL.subarray(3), 2, buffers)).toBe(0);
    expect(ring.addWritableBurst(ALL.subarray(3), 2, buffers)).toBe(0);
    ring.publish();
    const found = [];
    for (let taken = device.take(); taken !== undefined; taken = device.take()) found.push(taken);
    expect(found.map(({ parts }) => parts[0].address)).toEqual([1, 0x1000, 0x2000, 0x3000]);
    for (const { id } of found) device.return(id, 0);
    const tokens = new Int32Array(4);
    // Fewer at a time than are there.
    expect([ring.takeBurst(tokens, new Int32Array(4), 3), [...tokens]]).toEqual([3, [9, 0, 1, 0]]);
    expect([ring.takeBurst(tokens, new Int32Array(4), 4), tokens[0]]).toEqual([1, 2]);
    expect(ring).toMatchObject({ outstanding: 0, freeDescriptors: 4 });
  });
});

describe('buffers that come back to where they were', () => {
  function rig(): { memory: PlainMemory; ring: SplitVirtqueue; device: SplitDevice } {
    const memory = new PlainMemory();
    const ring = new SplitVirtqueue(memory, { index: 0, size: 4, eventIndex: false });
    return { memory, ring, device: new SplitDevice(memory, ring.layout, false) };
  }
  function round(it: ReturnType<typeof rig>, table: typeof buffers, tokens: readonly number[]): number[] {
    it.ring.addWritableBurst(Int32Array.from(tokens), tokens.length, table);
    it.ring.publish();
    const found = [];
    for (let taken = it.device.take(); taken !== undefined; taken = it.device.take()) found.push(taken);
    for (const { id } of found) it.device.return(id, 1);
    it.ring.takeBurst(new Int32Array(4), new Int32Array(4), 4);
    return found.map(({ parts }) => parts[0].address);
  }

  it('are found there by the device without being written anew, and others at their own place', () => {
    const it = rig();
    const { lo, hi } = it.ring.layout.descriptorArea;
    const table = it.memory.bytesAt(lo, hi, 64);
    expect(round(it, buffers, [0, 1, 2, 3])).toEqual([0x1000, 0x2000, 0x3000, 0x4000]);
    const before = [...table];
    expect(round(it, buffers, [0, 1, 2, 3])).toEqual([0x1000, 0x2000, 0x3000, 0x4000]);
    expect([...table]).toEqual(before);
    expect(round(it, buffers, [4, 0, 2, 1])).toEqual([0x5000, 0x1000, 0x3000, 0x2000]);
    // The same tokens from elsewhere, and back again.
    const others = buffersFrom(0x100_1000);
    expect(round(it, others, [4, 0, 2, 1])).toEqual([0x100_5000, 0x100_1000, 0x100_3000, 0x100_2000]);
    expect(round(it, buffers, [4, 0, 2, 1])).toEqual([0x5000, 0x1000, 0x3000, 0x2000]);
  });

  it('are described anew after a reset, which has emptied the ring', () => {
    const it = rig();
    expect(round(it, buffers, [0, 1, 2, 3])).toEqual([0x1000, 0x2000, 0x3000, 0x4000]);
    it.ring.addWritableBurst(Int32Array.of(0, 1), 2, buffers);
    const outstanding: number[] = [];
    it.ring.reset((token) => outstanding.push(token));
    expect(outstanding).toEqual([0, 1]);
    const device = new SplitDevice(it.memory, it.ring.layout, false);
    expect(round({ ...it, device }, buffers, [0, 1, 2, 3])).toEqual([0x1000, 0x2000, 0x3000, 0x4000]);
  });

  it('are not taken for being there where they were added from elsewhere, and come back after that has changed', () => {
    const { ring, device } = rig();
    const find = (): Taken[] => {
      ring.publish();
      const found: Taken[] = [];
      for (let taken = device.take(); taken !== undefined; taken = device.take()) found.push(taken);
      return found;
    };
    const others = buffersFrom(0x100_1000);
    const [back, lengths] = [new Int32Array(4), new Int32Array(4)];
    ring.addWritableBurst(Int32Array.of(0, 1), 2, buffers);
    const [first, second] = find();
    // From now on the ring knows the free descriptors by the other table, and gets back what is of this one.
    ring.addWritableBurst(Int32Array.of(2, 3), 2, others);
    for (const { id } of [first, second, ...find()]) device.return(id, 1);
    expect(ring.takeBurst(back, lengths, 4)).toBe(4);
    ring.addWritableBurst(ALL, 4, others);
    expect(find().map(({ parts }) => parts[0].address)).toEqual([
      0x100_1000, 0x100_2000, 0x100_3000, 0x100_4000,
    ]);
  });
});
