/**
 * The memory barriers between driver and device. An atomic access in JavaScript is sequentially consistent: what was
 * written before it is visible to whoever sees it, and no later atomic access comes before it.
 */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { PackedVirtqueue } from '../../src/virtqueue/packed-virtqueue.js';
import { SplitVirtqueue } from '../../src/virtqueue/split-virtqueue.js';
import type { Virtqueue } from '../../src/virtqueue/virtqueue.js';
import { PlainMemory } from '../support/plain-memory.js';

afterEach(() => {
  vi.restoreAllMocks();
});

/** An atomic access, and what the whole ring was right before it. */
interface AtomicAccess {
  readonly kind: 'store' | 'load';
  /** Device address of the word. */
  readonly address: number;
  readonly memory: Uint8Array;
}

/** Records the atomic accesses to a ring, which take place all the same. */
function recordAtomics(memory: PlainMemory): AtomicAccess[] {
  const accesses: AtomicAccess[] = [];
  const [region] = memory.regions;
  const record = (kind: AtomicAccess['kind'], array: Uint16Array, index: number): void => {
    const offset = array.byteOffset + index * array.BYTES_PER_ELEMENT;
    accesses.push({ kind, address: region.base + offset, memory: new Uint8Array(region.buffer.slice()) });
  };
  const { store, load } = Atomics;
  vi.spyOn(Atomics, 'store').mockImplementation(((array: Uint16Array, index: number, value: number) => {
    record('store', array, index);
    return store(array, index, value);
  }) as typeof Atomics.store);
  vi.spyOn(Atomics, 'load').mockImplementation(((array: Uint16Array, index: number) => {
    record('load', array, index);
    return load(array, index);
  }) as typeof Atomics.load);
  return accesses;
}

/** Adds two buffers, publishes them, and asks whether to notify. */
function addTwo(ring: Virtqueue): void {
  ring.addReadable(1, 0xaaaa, 0, 60);
  ring.addReadable(2, 0xbbbb, 0, 61);
  ring.publish();
  ring.needsNotification();
}

/** The two addresses as they stand in the first two descriptors. */
function addresses({ memory }: AtomicAccess): number[] {
  return [0, 16].map((at) => memory[at] | (memory[at + 1] << 8));
}

describe.each([true, false])('with an event index %s', (eventIndex) => {
  // Proves: split/updating-idx/1, split/notifying-the-device/1
  it('a split ring publishes by an atomic store, and only then loads what the device asks for', () => {
    const memory = new PlainMemory();
    const ring = new SplitVirtqueue(memory, { index: 0, size: 4, eventIndex });
    const accesses = recordAtomics(memory);
    addTwo(ring);
    const { driverArea, deviceArea } = ring.layout;
    expect(accesses.map(({ kind, address }) => [kind, address])).toEqual([
      ['store', driverArea.lo + 2],
      ['load', deviceArea.lo + (eventIndex ? 4 + 8 * 4 : 0)],
    ]);
    const [store] = accesses;
    expect(addresses(store)).toEqual([0xaaaa, 0xbbbb]);
    const available = driverArea.lo - memory.regions[0].base;
    expect([...store.memory.subarray(available + 2, available + 8)]).toEqual([0, 0, 0, 0, 1, 0]);
  });

  // Proves: packed/updating-flags/1
  it('a packed ring publishes by an atomic store, and only then loads what the device asks for', () => {
    const memory = new PlainMemory();
    const ring = new PackedVirtqueue(memory, { index: 0, size: 4, eventIndex });
    const accesses = recordAtomics(memory);
    addTwo(ring);
    const { descriptorArea, deviceArea } = ring.layout;
    expect(accesses.map(({ kind, address }) => [kind, address])).toEqual([
      ['store', descriptorArea.lo + 14],
      ['load', deviceArea.lo],
    ]);
    const [store] = accesses;
    expect(addresses(store)).toEqual([0xaaaa, 0xbbbb]);
    // The first descriptor is complete but for its flags, the second one altogether.
    expect([store.memory[14], store.memory[15]]).toEqual([0, 0]);
    expect([store.memory[16 + 14], store.memory[16 + 15]]).toEqual([0x80, 0]);
  });
});
