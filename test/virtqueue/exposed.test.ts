/** What the device has been given stays as it is until the device has given it back, whatever the driver does. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DescriptorChain } from '../../src/virtqueue/descriptor-chain.js';
import { PackedVirtqueue } from '../../src/virtqueue/packed-virtqueue.js';
import { SplitVirtqueue } from '../../src/virtqueue/split-virtqueue.js';
import { NOTHING_USED, type Virtqueue } from '../../src/virtqueue/virtqueue.js';
import { PlainMemory } from '../support/plain-memory.js';
import { readDescriptor, type RingDevice, type Taken } from './device.js';
import { PackedDevice } from './packed-device.js';
import { SplitDevice } from './split-device.js';

const DESCRIPTOR = 16;
const NEXT = 1;
const INDIRECT = 4;

/** A part of the memory of the ring. */
interface Span {
  readonly lo: number;
  readonly hi: number;
  readonly length: number;
}

/** Knows which bytes of a ring the driver must leave alone. */
interface Watch {
  added(descriptors: number): void;
  published(): void;
  taken(): void;
  spans(): Span[];
}

interface Rig {
  readonly memory: PlainMemory;
  readonly ring: Virtqueue;
  readonly device: RingDevice;
  readonly watch: Watch;
}

function descriptorSpan(ring: Virtqueue, position: number): Span {
  const { lo, hi } = ring.layout.descriptorArea;
  return { lo: lo + DESCRIPTOR * position, hi, length: DESCRIPTOR };
}

/** The descriptor with the table that it leads to, if it does. */
function withTable(memory: PlainMemory, span: Span, flags: number): Span[] {
  if ((flags & INDIRECT) === 0) return [span];
  const { lo, hi, length } = readDescriptor(memory.bytesAt(span.lo, span.hi, DESCRIPTOR), 0);
  return [span, { lo, hi, length }];
}

/** @param start - rounds before anything is watched, which bring the index near to where it wraps */
function splitRig(size: number, indirectEntries: number, start: number): Rig {
  const memory = new PlainMemory();
  const ring = new SplitVirtqueue(memory, { index: 0, size, eventIndex: true, indirectEntries });
  const device = new SplitDevice(memory, ring.layout, true);
  const { lo, hi } = ring.layout.driverArea;
  const available = (): Uint16Array => new Uint16Array(memory.bytesAt(lo, hi, 4 + 2 * size).slice().buffer);
  /** By the head of a chain: its descriptors, and its table. */
  const exposed = new Map<number, Span[]>();
  const returned: number[] = [];
  let seen = start;
  let added = 0;
  for (let round = 0; round < start; round += 1) {
    ring.addReadable(0, 0, 0, 1);
    ring.publish();
    device.return(device.take()?.id ?? -1, 0);
    ring.take();
  }
  const chainSpans = (head: number): Span[] => {
    const spans: Span[] = [];
    for (let at = head; ;) {
      const span = descriptorSpan(ring, at);
      const [flags, next] = readDescriptor(memory.bytesAt(span.lo, span.hi, DESCRIPTOR), 0).words;
      spans.push(...withTable(memory, span, flags));
      if ((flags & NEXT) === 0) return spans;
      at = next;
    }
  };
  const watch: Watch = {
    added: () => {
      added += 1;
      expect(available()[1]).toBe(seen);
    },
    published: () => {
      const words = available();
      expect((words[1] - seen) & 0xffff).toBe(added);
      for (; added > 0; added -= 1, seen = (seen + 1) & 0xffff) {
        const head = words[2 + (seen % size)];
        exposed.set(head, chainSpans(head));
      }
    },
    taken: () => {
      expect(available()[1]).toBe(seen);
      // Buffers are taken back in the order in which the device returns them.
      for (const head of returned.splice(0, 1)) exposed.delete(head);
    },
    spans: () => [...exposed.values()].flat(),
  };
  const recording: RingDevice = {
    take: () => device.take(),
    return: (id, length) => {
      returned.push(id);
      return device.return(id, length);
    },
    returnBatch: (ids, length) => {
      returned.push(...ids);
      return device.returnBatch(ids, length);
    },
    sleep: () => device.sleep(),
    suppressNotifications: () => device.suppressNotifications(),
  };
  return { memory, ring, device: recording, watch };
}

function packedRig(size: number, indirectEntries: number): Rig {
  const memory = new PlainMemory();
  const ring = new PackedVirtqueue(memory, { index: 0, size, eventIndex: true, indirectEntries });
  const device = new PackedDevice(memory, ring.layout, true);
  /** Descriptors in the order of the ring, from the oldest that is not known to be used. */
  const frozen: Span[][] = [];
  let next = 0;
  let first: Span | undefined;
  let before = size;
  const freeze = (span: Span): void => {
    const flags = readDescriptor(memory.bytesAt(span.lo, span.hi, DESCRIPTOR), 0).words[1];
    frozen.push(withTable(memory, span, flags));
  };
  const held: Span[] = [];
  const watch: Watch = {
    added: (descriptors) => {
      for (let count = 0; count < descriptors; count += 1, next = (next + 1) % size) {
        // Only the first one of a burst is still to be changed, by what publishes it.
        if (first === undefined) first = descriptorSpan(ring, next);
        else held.push(descriptorSpan(ring, next));
      }
      before = ring.freeDescriptors;
    },
    published: () => {
      if (first !== undefined) for (const span of [first, ...held.splice(0)]) freeze(span);
      first = undefined;
    },
    taken: () => {
      frozen.splice(0, ring.freeDescriptors - before);
      before = ring.freeDescriptors;
    },
    spans: () => [...frozen.flat(), ...held],
  };
  return { memory, ring, device, watch };
}

const STEPS = fc.array(
  fc.record({
    do: fc.constantFrom('add', 'add', 'publish', 'return', 'take', 'sleep', 'suppress'),
    parts: fc.integer({ min: 1, max: 3 }),
    pick: fc.nat(),
  }),
  { minLength: 1, maxLength: 200 },
);

/** Runs one step of the driver and checks that it left alone what it must. */
function undisturbed({ memory, watch }: Rig, step: () => void): void {
  const look = (): number[][] =>
    spans.map(({ lo, hi, length }) => Array.from(memory.bytesAt(lo, hi, length)));
  const spans = watch.spans();
  const before = look();
  step();
  expect(look()).toEqual(before);
}

function play(rig: Rig, steps: readonly { do: string; parts: number; pick: number }[]): void {
  const { ring, device, watch } = rig;
  const atDevice: Taken[] = [];
  const chain = new DescriptorChain(3);
  for (const { do: what, parts, pick } of steps) {
    undisturbed(rig, () => {
      if (what === 'add') {
        chain.clear();
        for (let part = 0; part < Math.min(parts, ring.size); part += 1) chain.addWritable(pick, 0, 8);
        const free = ring.freeDescriptors;
        if (ring.addChain(1, chain)) watch.added(free - ring.freeDescriptors);
      } else if (what === 'publish') {
        ring.publish();
        watch.published();
      } else if (what === 'take') {
        if (ring.take() !== NOTHING_USED) watch.taken();
      } else if (what === 'sleep') ring.requestInterrupt();
      else if (what === 'suppress') ring.suppressInterrupts();
    });
    if (what === 'publish') {
      for (let taken = device.take(); taken !== undefined; taken = device.take()) atDevice.push(taken);
    }
    if (what === 'return' && atDevice.length > 0) {
      device.return(atDevice.splice(pick % atDevice.length, 1)[0].id, 8);
    }
    expect(ring.broken).toBeUndefined();
  }
}

describe('what the device was given', () => {
  const setups = fc.tuple(fc.constantFrom(1, 2, 4, 8), fc.constantFrom(0, 3));

  // Proves: core/device-cleanup/1, split/the-virtqueue-available-ring/1
  it('stays as it is on a split ring, whose available index only grows, by what was added', () => {
    const starts = fc.oneof(
      { weight: 9, arbitrary: fc.constant(0) },
      { weight: 1, arbitrary: fc.constant(0xfffd) },
    );
    fc.assert(
      fc.property(setups, STEPS, starts, ([size, indirectEntries], steps, start) => {
        play(splitRig(size, indirectEntries, start), steps);
      }),
      { numRuns: 200 },
    );
  }, 60_000);

  // Proves: core/device-cleanup/1, packed/the-virtqueue-descriptor-table/1, packed/the-virtqueue-descriptor-table/2
  it('stays as it is on a packed ring, until the driver has seen that it was used', () => {
    fc.assert(
      fc.property(setups, STEPS, ([size, indirectEntries], steps) => {
        play(packedRig(size, indirectEntries), steps);
      }),
      { numRuns: 300 },
    );
  });
});
