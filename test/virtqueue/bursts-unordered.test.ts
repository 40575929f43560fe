/** Bursts on a processor whose plain loads do not stay in order, where each packed descriptor is looked at with an acquiring one. */
import { describe, expect, it, vi } from 'vitest';
import { BufferTable } from '../../src/virtqueue/buffer-table.js';
import { LOADS_STAY_IN_ORDER } from '../../src/virtqueue/memory-order.js';
import { KINDS } from './burst-sides.js';
import { goRound, playBursts } from './burst-world.js';

vi.mock('../../src/virtqueue/memory-order.js', () => ({ LOADS_STAY_IN_ORDER: false }));

describe.each(KINDS.filter(({ name }) => name === 'packed'))('bursts on a $name ring', ({ make, sizes }) => {
  it('lose nothing and repeat nothing there either', () => {
    expect(LOADS_STAY_IN_ORDER).toBe(false);
    playBursts(sizes, make);
  }, 120_000);

  it.each(sizes)('go round and round, with %i descriptors', (size) => {
    expect(goRound(size, make({ size, indirectEntries: 0 }), 20_000)).toBeGreaterThanOrEqual(20_000);
  });

  it('take no descriptor before the device has marked it, and load each flag as such', () => {
    const { ring, attach } = make({ size: 5, indirectEntries: 0 });
    const device = attach();
    const table = new BufferTable(5);
    table.lengths.fill(9);
    ring.addWritableBurst(Int32Array.of(0, 1, 2, 3, 4), 5, table);
    ring.publish();
    while (device.take() !== undefined);
    for (const id of [0, 1, 2]) device.return(id, id);
    const load = vi.spyOn(Atomics, 'load');
    const tokens = new Int32Array(5);
    expect(ring.takeBurst(tokens, new Int32Array(5), 5)).toBe(3);
    // One each for those that are used, one for the first that is not; then that one is looked at once more.
    expect(load.mock.calls.length).toBe(5);
    load.mockRestore();
    expect([...tokens]).toEqual([0, 1, 2, 0, 0]);
    for (const id of [3, 4]) device.return(id, id);
    expect(ring.takeBurst(tokens, new Int32Array(5), 1)).toBe(1);
    expect(ring.takeBurst(tokens, new Int32Array(5), 5)).toBe(1);
    expect(ring).toMatchObject({ outstanding: 0, freeDescriptors: 5 });
  });

  it('load each flag once, across the end of the ring too', () => {
    const { ring, attach } = make({ size: 5, indirectEntries: 0 });
    const device = attach();
    const table = new BufferTable(5);
    table.lengths.fill(9);
    const tokens = new Int32Array(5);
    const goThrough = (added: readonly number[]): number => {
      ring.addWritableBurst(Int32Array.from(added), added.length, table);
      ring.publish();
      for (let taken = device.take(); taken !== undefined; taken = device.take()) device.return(taken.id, 1);
      const load = vi.spyOn(Atomics, 'load');
      expect(ring.takeBurst(tokens, new Int32Array(5), 5)).toBe(added.length);
      const loads = load.mock.calls.length;
      load.mockRestore();
      return loads;
    };
    expect(goThrough([0, 1, 2])).toBe(5);
    expect(goThrough([3, 4, 0, 1])).toBe(6);
    expect([...tokens]).toEqual([3, 4, 0, 1, 0]);
  });
});
