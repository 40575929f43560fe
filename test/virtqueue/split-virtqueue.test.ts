import { describe, expect, it } from 'vitest';
import { DescriptorChain } from '../../src/virtqueue/descriptor-chain.js';
import { SplitVirtqueue } from '../../src/virtqueue/split-virtqueue.js';
import { NOTHING_USED } from '../../src/virtqueue/virtqueue.js';
import { PlainMemory } from '../support/plain-memory.js';
import { readDescriptor } from './device.js';
import { SplitDevice } from './split-device.js';

interface Rig {
  readonly memory: PlainMemory;
  readonly ring: SplitVirtqueue;
  readonly device: SplitDevice;
}

function rig(
  size: number,
  options: { eventIndex?: boolean; indirectEntries?: number; base?: number } = {},
): Rig {
  const { eventIndex = true, indirectEntries = 0, base } = options;
  const memory = new PlainMemory(base);
  const ring = new SplitVirtqueue(memory, { index: 3, size, eventIndex, indirectEntries });
  return { memory, ring, device: new SplitDevice(memory, ring.layout, eventIndex) };
}

/** Sends one buffer through the ring and back. */
function roundTrip({ ring, device }: Rig, token: number): void {
  expect(ring.addReadable(token, token, 0, 60)).toBe(true);
  ring.publish();
  const taken = device.take();
  expect(taken?.parts).toEqual([{ address: token, length: 60, writable: false }]);
  device.return(taken?.id ?? -1, 0);
  expect(ring.take()).toBe(token);
}

/** The device takes one buffer and returns it with the given length. */
function finishOne({ device }: Rig, length = 0): boolean {
  const taken = device.take();
  if (taken === undefined) throw new Error('the device found no buffer');
  return device.return(taken.id, length);
}

describe('a split ring', () => {
  // Proves: split/virtqueues/1
  it('places its parts on the alignment that the specification asks for', () => {
    for (const size of [1, 2, 8, 256, 1024, 32768]) {
      const { layout } = rig(size).ring;
      expect(layout.descriptorArea.lo % 16).toBe(0);
      expect(layout.driverArea.lo % 2).toBe(0);
      expect(layout.deviceArea.lo % 4).toBe(0);
    }
  });

  it('refuses a size that is no power of two', () => {
    const memory = new PlainMemory();
    for (const size of [0, 3, 255, 65536, 1.5, NaN]) {
      expect(() => new SplitVirtqueue(memory, { index: 0, size, eventIndex: true })).toThrow(RangeError);
    }
    expect(memory.allocatedBytes).toBe(0);
  });

  // Proves: split/available-buffer-notification-suppression/1
  it('begins with all of its words 0, whatever the memory held', () => {
    const memory = new PlainMemory();
    const dirty = {
      behindIommu: false,
      addressing: 'physical' as const,
      setAddressing: () => undefined,
      allocatedBytes: 0,
      allocate: (size: number) => {
        const region = memory.allocate(size);
        new Uint8Array(region.buffer).fill(0xff);
        return region;
      },
    };
    const { layout } = new SplitVirtqueue(dirty, { index: 0, size: 8, eventIndex: false });
    const { lo, hi } = layout.deviceArea;
    expect([...memory.bytesAt(lo, hi, 4 + 8 * 8 + 2)]).toEqual(new Array(4 + 8 * 8 + 2).fill(0));
    expect([...memory.bytesAt(layout.driverArea.lo, layout.driverArea.hi, 4)]).toEqual([0, 0, 0, 0]);
  });

  it('gives addresses above 4 GiB in both halves', () => {
    const { ring, device } = rig(4, { base: 0x1_2345_0000_0000 });
    ring.addWritable(1, 0xfffffffe, 0xabcd, 100);
    ring.publish();
    expect(device.take()?.parts).toEqual([
      { address: 0xabcd * 2 ** 32 + 0xfffffffe, length: 100, writable: true },
    ]);
  });

  it('shows nothing to the device before it is published', () => {
    const { ring, device } = rig(8);
    ring.addReadable(5, 0, 0, 1);
    ring.addReadable(6, 0, 0, 1);
    expect(device.pending).toBe(0);
    ring.publish();
    expect(device.pending).toBe(2);
  });

  it('holds as many buffers as it has descriptors, and no more', () => {
    const { ring } = rig(4);
    for (let token = 0; token < 4; token += 1) expect(ring.addWritable(token, 0, 0, 10)).toBe(true);
    expect(ring.freeDescriptors).toBe(0);
    expect(ring.addWritable(9, 0, 0, 10)).toBe(false);
    expect(ring.outstanding).toBe(4);
  });

  it('gives buffers back in the order in which the device returns them', () => {
    const { ring, device } = rig(8);
    for (const token of [10, 11, 12]) ring.addReadable(token, token, 0, 1);
    ring.publish();
    const taken = [device.take(), device.take(), device.take()].map((buffer) => buffer?.id ?? -1);
    for (const position of [2, 0, 1]) device.return(taken[position], 0);
    expect([ring.take(), ring.take(), ring.take(), ring.take()]).toEqual([12, 10, 11, NOTHING_USED]);
  });

  it.each([1, 2, 256])('goes on when the 16-bit indexes wrap, with %i descriptors', (size) => {
    const it = rig(size);
    for (let token = 0; token < 2 * 65536 + 3; token += 1) roundTrip(it, token & 0x7fffffff);
    expect(it.ring.freeDescriptors).toBe(size);
    expect(it.ring.broken).toBeUndefined();
  });

  it('tells how many bytes the device wrote', () => {
    const it = rig(4);
    it.ring.addWritable(1, 0, 0, 1526);
    it.ring.publish();
    finishOne(it, 74);
    expect(it.ring.take()).toBe(1);
    expect(it.ring.usedLength).toBe(74);
  });

  it('takes no offence at a length reported for a buffer that the device only reads', () => {
    const it = rig(4);
    it.ring.addReadable(1, 0, 0, 60);
    it.ring.publish();
    finishOne(it, 60);
    expect(it.ring.take()).toBe(1);
    expect(it.ring.usedLength).toBe(0);
  });
});

describe('chains', () => {
  const request = (): DescriptorChain =>
    new DescriptorChain(8).addReadable(0x100, 0, 2).addReadable(0x200, 0, 30).addWritable(0x300, 0, 1);
  const parts = [
    { address: 0x100, length: 2, writable: false },
    { address: 0x200, length: 30, writable: false },
    { address: 0x300, length: 1, writable: true },
  ];

  // Proves: split/message-framing/1
  it.each([0, 2, 8])('carries several parts, with indirect tables of %i entries', (indirectEntries) => {
    const { ring, device } = rig(8, { indirectEntries });
    for (let token = 0; token < 1000; token += 1) {
      expect(ring.addChain(token, request())).toBe(true);
      expect(ring.freeDescriptors).toBe(indirectEntries === 8 ? 7 : 5);
      ring.publish();
      const taken = device.take();
      expect(taken?.parts).toEqual(parts);
      device.return(taken?.id ?? -1, 1);
      expect(ring.take()).toBe(token);
      expect(ring.usedLength).toBe(1);
      expect(ring.freeDescriptors).toBe(8);
    }
  });

  /** The flags of the first three descriptors of a table. */
  function flagsAt(memory: PlainMemory, lo: number, hi: number): number[] {
    return [0, 1, 2].map((index) => readDescriptor(memory.bytesAt(lo, hi, 48), index).words[0]);
  }

  // Proves: split/indirect-descriptors/1
  it('uses an indirect table only where one was asked for', () => {
    const { ring, memory } = rig(4, { indirectEntries: 0 });
    ring.addChain(0, request());
    const { lo, hi } = ring.layout.descriptorArea;
    expect(flagsAt(memory, lo, hi)).toEqual([1, 1, 2]);
  });

  // Proves: split/indirect-descriptors/2, split/indirect-descriptors/4
  it('puts no table within another, and none into a chain of descriptors', () => {
    const { ring, memory } = rig(4, { indirectEntries: 3 });
    ring.addChain(0, request());
    ring.addChain(1, request());
    const { lo, hi } = ring.layout.descriptorArea;
    expect(flagsAt(memory, lo, hi)).toEqual([4, 4, 0]);
    for (const position of [0, 1]) {
      const table = readDescriptor(memory.bytesAt(lo, hi, 64), position);
      expect(table.length).toBe(48);
      expect(flagsAt(memory, table.lo, table.hi)).toEqual([1, 1, 2]);
    }
  });

  it('says when there is no room now, and changes nothing', () => {
    const { ring } = rig(4);
    ring.addReadable(0, 0, 0, 1);
    ring.addReadable(1, 0, 0, 1);
    expect(ring.addChain(2, request())).toBe(false);
    expect(ring.freeDescriptors).toBe(2);
    expect(ring.outstanding).toBe(2);
  });

  // Proves: split/indirect-descriptors/3, split/the-virtqueue-descriptor-table/1
  it('refuses what can never fit', () => {
    const { ring } = rig(2, { indirectEntries: 8 });
    const long = new DescriptorChain(3).addReadable(0, 0, 1).addReadable(0, 0, 1).addReadable(0, 0, 1);
    expect(() => ring.addChain(0, long)).toThrow(expect.objectContaining({ code: 'QUEUE_CHAIN_INVALID' }));
    expect(() => ring.addChain(0, new DescriptorChain(1))).toThrow('0 parts');
    const heavy = new DescriptorChain(2).addReadable(0, 0, 0xffffffff).addReadable(0, 0, 1);
    expect(() => ring.addChain(0, heavy)).toThrow('too long');
    expect(ring.freeDescriptors).toBe(2);
  });

  it('refuses a readable part behind a writable one, and parts of no length', () => {
    const chain = new DescriptorChain(4).addWritable(0, 0, 1);
    expect(() => chain.addReadable(0, 0, 1)).toThrow('can not come after');
    expect(() => chain.addWritable(0, 0, 0)).toThrow('0 bytes');
    expect(() => new DescriptorChain(0).addReadable(0, 0, 1)).toThrow('0 parts at most');
    expect(chain.clear().addReadable(0, 0, 1).totalLength).toBe(1);
  });
});

describe('notification of the device', () => {
  // Proves: split/available-buffer-notification-suppression/6, split/available-buffer-notification-suppression/7
  it('follows avail_event', () => {
    const { ring, device } = rig(8);
    const publish = (count: number): boolean => {
      for (let i = 0; i < count; i += 1) ring.addReadable(0, 0, 0, 1);
      ring.publish();
      return ring.needsNotification();
    };
    device.setAvailEvent(2);
    expect(publish(2)).toBe(false);
    expect(publish(1)).toBe(true);
    expect(publish(1)).toBe(false);
    device.setAvailEvent(5);
    expect(publish(3)).toBe(true);
    expect(ring.needsNotification()).toBe(false);
  });

  // Proves: split/available-buffer-notification-suppression/3, split/available-buffer-notification-suppression/4,
  //   split/available-buffer-notification-suppression/2
  it('follows the flag where there is no event index, and ignores avail_event then', () => {
    const { ring, device } = rig(8, { eventIndex: false });
    const publish = (): boolean => {
      ring.addReadable(0, 0, 0, 1);
      ring.publish();
      return ring.needsNotification();
    };
    device.setAvailEvent(77);
    expect(publish()).toBe(true);
    device.setUsedFlags(1);
    expect(publish()).toBe(false);
    device.setUsedFlags(0);
    expect(publish()).toBe(true);
  });

  // Proves: split/available-buffer-notification-suppression/5
  it('ignores the flag where there is an event index', () => {
    const { ring, device } = rig(8);
    device.setUsedFlags(1);
    ring.addReadable(0, 0, 0, 1);
    ring.publish();
    expect(ring.needsNotification()).toBe(true);
  });
});

describe('interrupt suppression', () => {
  // Proves: split/used-buffer-notification-suppression/4, split/used-buffer-notification-suppression/3
  it('asks through used_event, and leaves the flags 0', () => {
    const it = rig(8);
    for (let token = 0; token < 8; token += 1) it.ring.addReadable(token, 0, 0, 1);
    it.ring.publish();
    it.ring.suppressInterrupts();
    expect(it.device.availableFlags).toBe(0);
    expect(finishOne(it)).toBe(false);
    expect(it.ring.requestInterrupt()).toBe(true);
    it.ring.take();
    expect(it.ring.requestInterrupt()).toBe(false);
    expect(finishOne(it)).toBe(true);
    expect(finishOne(it)).toBe(false);
    expect(it.ring.requestInterrupt(4)).toBe(false);
    expect(finishOne(it)).toBe(false);
    expect(finishOne(it)).toBe(true);
    expect(it.device.availableFlags).toBe(0);
  });

  // Proves: split/used-buffer-notification-suppression/1, split/used-buffer-notification-suppression/2
  it('asks through the flag where there is no event index', () => {
    const it = rig(8, { eventIndex: false });
    it.ring.addReadable(0, 0, 0, 1);
    it.ring.addReadable(1, 0, 0, 1);
    it.ring.publish();
    it.ring.suppressInterrupts();
    expect(it.device.availableFlags).toBe(1);
    expect(finishOne(it)).toBe(false);
    expect(it.ring.requestInterrupt()).toBe(true);
    expect(it.device.availableFlags).toBe(0);
    expect(finishOne(it)).toBe(true);
  });

  it('stays silent for 65535 buffers after the last look', () => {
    const it = rig(1);
    it.ring.suppressInterrupts();
    let interrupts = 0;
    for (let n = 0; n < 65535; n += 1) {
      it.ring.addReadable(0, 0, 0, 1);
      it.ring.publish();
      if (finishOne(it)) interrupts += 1;
      it.ring.take();
    }
    expect(interrupts).toBe(0);
  });
});

describe('a device that breaks the protocol', () => {
  function posted(size = 4): Rig {
    const it = rig(size);
    for (let token = 0; token < 2; token += 1) it.ring.addWritable(token, 0, 0, 100);
    it.ring.publish();
    return it;
  }
  function expectBroken({ ring }: Rig, how: string): void {
    expect(ring.take()).toBe(NOTHING_USED);
    expect(ring.broken).toMatchObject({ code: 'QUEUE_BROKEN' });
    expect(ring.broken?.message).toContain(how);
    expect(ring.broken?.message).toContain('queue 3');
    expect(ring.take()).toBe(NOTHING_USED);
    expect(ring.hasUsed()).toBe(false);
  }

  it.each([3, 4, 100, 32768, 65535])('is noticed when its index jumps by %i', (jump) => {
    const it = posted();
    it.device.advance(jump);
    expectBroken(it, 'used index went from 0 to');
  });

  it.each([4, 5, 65536, 0xffffffff])('is noticed when it returns descriptor %i', (id) => {
    const it = posted();
    it.device.return(id, 10);
    expectBroken(it, `descriptor ${id} of 4`);
  });

  it('is noticed when it returns what it does not have', () => {
    const it = posted();
    it.device.return(3, 10);
    expectBroken(it, 'which it did not have');
  });

  it('is noticed when it returns a buffer twice', () => {
    const it = posted();
    it.device.return(0, 10);
    it.device.return(0, 10);
    expect(it.ring.take()).toBe(0);
    expectBroken(it, 'which it did not have');
  });

  it('is noticed when it names a descriptor in the middle of a chain', () => {
    const it = rig(4);
    it.ring.addChain(7, new DescriptorChain(2).addReadable(0, 0, 1).addWritable(0, 0, 1));
    it.ring.publish();
    const taken = it.device.take();
    it.device.return(((taken?.id ?? 0) + 1) % 4, 1);
    expectBroken(it, 'which it did not have');
  });

  it.each([101, 65536, 0xffffffff])('is noticed when it says that it wrote %i bytes into 100', (length) => {
    const it = posted();
    it.device.return(0, length);
    expectBroken(it, `wrote ${length} bytes into a buffer of 100`);
  });

  it('leaves the buffers to be taken back by a reset, after which all goes on', () => {
    const it = posted();
    it.device.return(9, 10);
    expectBroken(it, 'descriptor 9');
    const tokens: number[] = [];
    it.ring.reset((token) => tokens.push(token));
    expect(tokens.sort()).toEqual([0, 1]);
    expect(it.ring.broken).toBeUndefined();
    const after = { ...it, device: new SplitDevice(it.memory, it.ring.layout, true) };
    for (let token = 0; token < 20; token += 1) roundTrip(after, token);
  });
});

describe('the memory of a ring', () => {
  it('is given back', () => {
    const { memory, ring } = rig(256);
    expect(memory.allocatedBytes).toBeGreaterThan(0);
    ring.free();
    ring.free();
    expect(memory.allocatedBytes).toBe(0);
  });
});
