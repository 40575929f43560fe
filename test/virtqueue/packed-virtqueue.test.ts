import { describe, expect, it } from 'vitest';
import { DescriptorChain } from '../../src/virtqueue/descriptor-chain.js';
import { PackedVirtqueue } from '../../src/virtqueue/packed-virtqueue.js';
import { NOTHING_USED } from '../../src/virtqueue/virtqueue.js';
import { PlainMemory } from '../support/plain-memory.js';
import { readDescriptor } from './device.js';
import { PackedDevice } from './packed-device.js';

interface Rig {
  readonly memory: PlainMemory;
  readonly ring: PackedVirtqueue;
  readonly device: PackedDevice;
}

function rig(
  size: number,
  options: { eventIndex?: boolean; indirectEntries?: number; base?: number } = {},
): Rig {
  const { eventIndex = true, indirectEntries = 0, base } = options;
  const memory = new PlainMemory(base);
  const ring = new PackedVirtqueue(memory, { index: 3, size, eventIndex, indirectEntries });
  return { memory, ring, device: new PackedDevice(memory, ring.layout, eventIndex) };
}

function finishOne({ device }: Rig, length = 0): boolean {
  const taken = device.take();
  if (taken === undefined) throw new Error('the device found no buffer');
  return device.return(taken.id, length);
}

/** The flags of a descriptor in the ring, as they lie in memory. */
function flagsOf({ memory, ring }: Rig, position: number): number {
  const { lo, hi } = ring.layout.descriptorArea;
  const bytes = memory.bytesAt(lo, hi, 16 * ring.size);
  return bytes[16 * position + 14] | (bytes[16 * position + 15] << 8);
}

describe('a packed ring', () => {
  // Proves: packed/virtqueues/1
  it('places its parts on the alignment that the specification asks for', () => {
    for (const size of [1, 3, 100, 256, 32768]) {
      const { layout } = rig(size).ring;
      expect(layout.descriptorArea.lo % 16).toBe(0);
      expect(layout.driverArea.lo % 4).toBe(0);
      expect(layout.deviceArea.lo % 4).toBe(0);
    }
  });

  it('has any size up to 32768', () => {
    const memory = new PlainMemory();
    for (const size of [0, 32769, 1.5, NaN]) {
      expect(() => new PackedVirtqueue(memory, { index: 0, size, eventIndex: true })).toThrow(RangeError);
    }
    expect(memory.allocatedBytes).toBe(0);
  });

  it.each([1, 2, 3, 256])('goes round and round, with %i descriptors', (size) => {
    const it = rig(size);
    for (let round = 0; round < 70_000; round += 1) {
      expect(it.ring.addWritable(round, round, 0, 100)).toBe(true);
      it.ring.publish();
      const taken = it.device.take();
      expect(taken?.parts).toEqual([{ address: round, length: 100, writable: true }]);
      it.device.return(taken?.id ?? -1, round % 101);
      expect(it.ring.take()).toBe(round);
      expect(it.ring.usedLength).toBe(round % 101);
    }
    expect(it.ring.take()).toBe(NOTHING_USED);
    expect(it.ring.freeDescriptors).toBe(size);
  });

  it('shows a burst to the device at once, by the flags of its first descriptor', () => {
    const it = rig(8);
    for (let token = 0; token < 3; token += 1) it.ring.addReadable(token, 0, 0, 1);
    expect(flagsOf(it, 0)).toBe(0);
    expect(flagsOf(it, 1)).toBe(0x80);
    expect(it.device.hasAvailable).toBe(false);
    it.ring.publish();
    expect(flagsOf(it, 0)).toBe(0x80);
    expect([it.device.take()?.id, it.device.take()?.id, it.device.take()?.id]).toEqual([0, 1, 2]);
  });

  // Proves: packed/scatter-gather-support/6
  it('shows the first descriptor of a list after all the others', () => {
    const it = rig(4);
    it.ring.addChain(
      0,
      new DescriptorChain(3).addReadable(1, 0, 2).addReadable(2, 0, 2).addWritable(3, 0, 9),
    );
    expect([0, 1, 2].map((position) => flagsOf(it, position))).toEqual([0, 0x81, 0x82]);
    it.ring.publish();
    expect([0, 1, 2].map((position) => flagsOf(it, position))).toEqual([0x81, 0x81, 0x82]);
  });

  // Proves: packed/scatter-gather-support/2, packed/scatter-gather-support/3, packed/scatter-gather-support/4,
  //   packed/scatter-gather-support/5
  it('carries chains over the end of the ring', () => {
    const it = rig(5);
    const chain = (): DescriptorChain =>
      new DescriptorChain(3).addReadable(1, 0, 2).addReadable(2, 0, 2).addWritable(3, 0, 9);
    for (let round = 0; round < 100; round += 1) {
      expect(it.ring.addChain(round, chain())).toBe(true);
      expect(it.ring.addChain(round, chain())).toBe(false);
      it.ring.publish();
      const taken = it.device.take();
      expect(taken?.parts.map(({ writable }) => writable)).toEqual([false, false, true]);
      it.device.return(taken?.id ?? -1, 9);
      expect(it.ring.take()).toBe(round);
    }
    const long = new DescriptorChain(6);
    for (let part = 0; part < 6; part += 1) long.addReadable(0, 0, 1);
    expect(() => it.ring.addChain(0, long)).toThrow(expect.objectContaining({ code: 'QUEUE_CHAIN_INVALID' }));
  });

  // Proves: packed/indirect-descriptors/1
  it('uses an indirect table only where one was asked for', () => {
    const it = rig(4, { indirectEntries: 0 });
    it.ring.addChain(0, new DescriptorChain(2).addReadable(7, 0, 2).addWritable(8, 0, 9));
    it.ring.publish();
    expect([flagsOf(it, 0), flagsOf(it, 1)]).toEqual([0x81, 0x82]);
  });

  // Proves: packed/indirect-descriptors/2, packed/indirect-descriptors/4
  it('sets no flag but WRITE in an indirect table, and puts none into a list of descriptors', () => {
    const it = rig(4, { indirectEntries: 3 });
    const chain = new DescriptorChain(3).addReadable(1, 0, 2).addReadable(2, 0, 2).addWritable(3, 0, 9);
    for (const token of [0, 1]) it.ring.addChain(token, chain);
    it.ring.publish();
    expect([flagsOf(it, 0), flagsOf(it, 1), flagsOf(it, 2)]).toEqual([0x84, 0x84, 0]);
    const { lo, hi } = it.ring.layout.descriptorArea;
    for (const position of [0, 1]) {
      const table = readDescriptor(it.memory.bytesAt(lo, hi, 64), position);
      const bytes = it.memory.bytesAt(table.lo, table.hi, table.length);
      expect([0, 1, 2].map((index) => readDescriptor(bytes, index).words[1])).toEqual([0, 0, 2]);
    }
  });

  // Proves: packed/indirect-descriptors/3
  it('refuses a chain that is longer than the queue, though its tables would hold it', () => {
    const it = rig(2, { indirectEntries: 8 });
    const long = new DescriptorChain(3).addReadable(0, 0, 1).addReadable(0, 0, 1).addReadable(0, 0, 1);
    expect(() => it.ring.addChain(0, long)).toThrow(expect.objectContaining({ code: 'QUEUE_CHAIN_INVALID' }));
    expect(it.ring.freeDescriptors).toBe(2);
  });

  it('carries chains in indirect tables, where it has them', () => {
    const it = rig(4, { indirectEntries: 3 });
    for (let round = 0; round < 20; round += 1) {
      it.ring.addChain(round, new DescriptorChain(3).addReadable(7, 0, 2).addWritable(8, 1, 9));
      expect(it.ring.freeDescriptors).toBe(3);
      it.ring.publish();
      expect(it.device.take()?.parts).toEqual([
        { address: 7, length: 2, writable: false },
        { address: 2 ** 32 + 8, length: 9, writable: true },
      ]);
      it.device.return(round % 4, 4);
      expect(it.ring.take()).toBe(round);
      expect(it.ring.usedLength).toBe(4);
    }
  });

  it('gives buffers back in whatever order the device returns them', () => {
    const it = rig(4);
    for (const token of [10, 11, 12]) it.ring.addReadable(token, 0, 0, 1);
    it.ring.publish();
    const ids = [it.device.take(), it.device.take(), it.device.take()].map((taken) => taken?.id ?? -1);
    for (const which of [2, 0, 1]) it.device.return(ids[which], 0);
    expect([it.ring.take(), it.ring.take(), it.ring.take(), it.ring.take()]).toEqual([12, 10, 11, -1]);
  });
});

describe('notification of the device', () => {
  it('follows its event descriptor, over the end of the ring', () => {
    const it = rig(4);
    const publish = (count: number): boolean => {
      for (let n = 0; n < count; n += 1) it.ring.addReadable(0, 0, 0, 1);
      it.ring.publish();
      return it.ring.needsNotification();
    };
    it.device.setEvents(2 | 0x8000, 2);
    expect(publish(2)).toBe(false);
    expect(publish(1)).toBe(true);
    expect(it.ring.needsNotification()).toBe(false);
    for (let n = 0; n < 3; n += 1) finishOne(it);
    while (it.ring.take() !== NOTHING_USED);
    // Descriptor 1 of the next lap.
    it.device.setEvents(1, 2);
    expect(publish(2)).toBe(false);
    expect(publish(1)).toBe(true);
  });

  it.each([true, false])('follows its flags, with an event index %s', (eventIndex) => {
    const it = rig(8, { eventIndex });
    const publish = (): boolean => {
      it.ring.addReadable(0, 0, 0, 1);
      it.ring.publish();
      return it.ring.needsNotification();
    };
    expect(publish()).toBe(true);
    it.device.setEvents(0, 1);
    expect(publish()).toBe(false);
    it.device.setEvents(0, 0);
    expect(publish()).toBe(true);
  });

  it('does not read an event descriptor where there is no event index', () => {
    const it = rig(4, { eventIndex: false });
    // The value is reserved then: notifying is the safe reading.
    it.device.setEvents(3 | 0x8000, 2);
    it.ring.addReadable(0, 0, 0, 1);
    it.ring.publish();
    expect(it.ring.needsNotification()).toBe(true);
  });
});

describe('interrupt suppression', () => {
  it('asks for the descriptor after which it wants one', () => {
    const it = rig(4);
    for (let round = 0; round < 10; round += 1) {
      for (let token = 0; token < 4; token += 1) it.ring.addReadable(token, 0, 0, 1);
      it.ring.publish();
      it.ring.suppressInterrupts();
      expect(finishOne(it)).toBe(false);
      expect(it.ring.requestInterrupt()).toBe(true);
      expect(it.ring.requestInterrupt(3)).toBe(false);
      expect(finishOne(it)).toBe(false);
      expect(finishOne(it)).toBe(true);
      expect(finishOne(it)).toBe(false);
      expect(it.ring.requestInterrupt(3)).toBe(true);
      while (it.ring.take() !== NOTHING_USED);
    }
  });

  it('asks for the very next one while there are buffers of several descriptors', () => {
    const it = rig(8);
    it.ring.addChain(0, new DescriptorChain(2).addReadable(0, 0, 1).addReadable(0, 0, 1));
    it.ring.addReadable(1, 0, 0, 1);
    it.ring.publish();
    expect(it.ring.requestInterrupt(2)).toBe(false);
    expect(finishOne(it)).toBe(true);
    // The second descriptor was skipped: nothing will ever be seen there, and no interrupt comes for it.
    expect(it.ring.requestInterrupt(2)).toBe(true);
    expect(it.ring.take()).toBe(0);
    for (const token of [2, 3]) it.ring.addReadable(token, 0, 0, 1);
    it.ring.publish();
    expect(it.ring.requestInterrupt(2)).toBe(false);
    expect([finishOne(it), finishOne(it)]).toEqual([false, true]);
  });

  it('asks through the flags where there is no event index', () => {
    const it = rig(4, { eventIndex: false });
    it.ring.addReadable(0, 0, 0, 1);
    it.ring.addReadable(1, 0, 0, 1);
    it.ring.publish();
    it.ring.suppressInterrupts();
    expect(it.device.driverEventFlags).toBe(1);
    expect(finishOne(it)).toBe(false);
    expect(it.ring.requestInterrupt()).toBe(true);
    expect(it.device.driverEventFlags).toBe(0);
    expect(finishOne(it)).toBe(true);
  });
});

describe('a reset', () => {
  const pair = (): DescriptorChain => new DescriptorChain(2).addReadable(0, 0, 1).addReadable(0, 0, 1);

  // Wherever the ring was left: the laps differ in what a stale descriptor would be taken for.
  it.each([0, 1, 4, 5, 9])('leaves nothing behind after %i buffers, published or not', (rounds) => {
    const it = rig(5);
    for (let round = 0; round < rounds; round += 1) {
      it.ring.addReadable(round, 0, 0, 1);
      it.ring.publish();
      finishOne(it);
      it.ring.take();
    }
    it.device.setEvents(0, 1);
    it.ring.suppressInterrupts();
    it.ring.addChain(100, pair());
    it.ring.publish();
    it.ring.addReadable(101, 0, 0, 1);
    const tokens: number[] = [];
    it.ring.reset((token) => tokens.push(token));
    expect(tokens.sort()).toEqual([100, 101]);
    expect(it.ring).toMatchObject({ outstanding: 0, freeDescriptors: 5, broken: undefined });
    it.ring.publish();
    expect(it.ring.needsNotification()).toBe(false);
    const { lo, hi } = it.ring.layout.descriptorArea;
    expect(it.memory.bytesAt(lo, hi, it.memory.regions[0].size).every((byte) => byte === 0)).toBe(true);

    const device = new PackedDevice(it.memory, it.ring.layout, true);
    for (const token of [0, 1]) it.ring.addReadable(token, 0, 0, 1);
    expect(device.hasAvailable).toBe(false);
    it.ring.publish();
    expect(it.ring.needsNotification()).toBe(true);
    // Buffers of several descriptors are forgotten too: otherwise every buffer would interrupt.
    expect(it.ring.requestInterrupt(2)).toBe(false);
    expect([finishOne({ ...it, device }), finishOne({ ...it, device })]).toEqual([false, true]);
  });
});

describe('a device that breaks the protocol', () => {
  function posted(): Rig {
    const it = rig(4);
    for (let token = 0; token < 2; token += 1) it.ring.addWritable(token, 0, 0, 100);
    it.ring.publish();
    return it;
  }
  function expectBroken({ ring }: Rig, how: string): void {
    expect(ring.take()).toBe(NOTHING_USED);
    expect(ring.broken).toMatchObject({ code: 'QUEUE_BROKEN' });
    expect(ring.broken?.message).toContain(how);
    expect(ring.take()).toBe(NOTHING_USED);
    expect(ring.hasUsed()).toBe(false);
  }

  it.each([4, 5, 65535])('is noticed when it returns buffer %i', (id) => {
    const it = posted();
    it.device.write(id, 0);
    expectBroken(it, `buffer ${id} of 4`);
  });

  it('is noticed when it returns what it does not have, or has returned', () => {
    const it = posted();
    it.device.write(2, 0);
    expectBroken(it, 'which it did not have');
    const twice = posted();
    finishOne(twice, 10);
    expect(twice.ring.take()).toBe(0);
    twice.device.write(0, 10);
    expectBroken(twice, 'which it did not have');
  });

  it.each([101, 0xffffffff])('is noticed when it says that it wrote %i bytes into 100', (length) => {
    const it = posted();
    it.device.write(0, length);
    expectBroken(it, `wrote ${length} bytes into a buffer of 100`);
  });

  it('finds nothing under the flags of another lap', () => {
    const it = posted();
    it.device.write(0, 10, false);
    expect(it.ring.take()).toBe(NOTHING_USED);
    expect(it.ring.broken).toBeUndefined();
  });

  it('leaves the buffers to be taken back by a reset, after which all goes on', () => {
    const it = posted();
    it.device.write(9, 0);
    expectBroken(it, 'buffer 9');
    const tokens: number[] = [];
    it.ring.reset((token) => tokens.push(token));
    expect(tokens.sort()).toEqual([0, 1]);
    const device = new PackedDevice(it.memory, it.ring.layout, true);
    for (let token = 0; token < 20; token += 1) {
      it.ring.addReadable(token, 0, 0, 1);
      it.ring.publish();
      finishOne({ ...it, device });
      expect(it.ring.take()).toBe(token);
    }
    it.ring.free();
    expect(it.memory.allocatedBytes).toBe(0);
  });
});
