import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { pageSize } from '../../../src/native/mapped-memory.js';
import { MOST_ARENAS, VhostUserMemory } from '../../../src/transport/vhost-user/memory.js';
import { freeHugePages } from '../../../src/vfio/huge-pages.js';
import { buildShim } from '../../native/build-shim.js';
import { openFileCount } from '../../native/process-state.js';

beforeAll(buildShim);

const MIB = 2 ** 20;
const make = (hugePages: 'auto' | 'never' | '2M' = 'never'): VhostUserMemory =>
  new VhostUserMemory({ hugePages, sysfsRoot: '/sys' });

function mappedFiles(): number {
  return readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.includes('memfd:virtio-net')).length;
}

describe('memory that is shared with a vhost-user backend', () => {
  it('is zeroed, below 4 GiB, on pages, and comes out of few files', () => {
    const memory = make();
    const regions = Array.from({ length: 50 }, (_, index) => memory.allocate(1000 * (index + 1)));
    const ends = new Set<number>();
    for (const region of regions) {
      const { lo, hi } = region.addressOf(0);
      expect([hi, lo % pageSize(), region.buffer.byteLength]).toEqual([0, 0, region.size]);
      expect(new Uint8Array(region.buffer).every((byte) => byte === 0)).toBe(true);
      ends.add(lo);
    }
    expect(ends.size).toBe(50);
    expect(memory.table.entries).toHaveLength(1);
    expect(memory.allocatedBytes).toBe(regions.reduce((sum, { size }) => sum + size, 0));
    memory.close();
  });

  it('is the same in the file and under the address that the backend is told', () => {
    const memory = make();
    memory.allocate(pageSize());
    const region = memory.allocate(100);
    new Uint8Array(region.buffer).set([1, 2, 3]);
    const [{ guestAddress, offset }] = memory.table.entries;
    const [fd] = memory.table.fds;
    const at = region.addressOf(0).lo - guestAddress + offset;
    expect([...readFileSync(`/proc/self/fd/${fd}`).subarray(at, at + 4)]).toEqual([1, 2, 3, 0]);
    memory.close();
  });

  it('is zeroed again when it is used again, and goes when none of it is used', () => {
    const memory = make();
    const kept = memory.allocate(100);
    const region = memory.allocate(MIB);
    const { entries } = memory.table;
    new Uint8Array(region.buffer).fill(1);
    const stale = new Uint8Array(region.buffer);
    region.free();
    expect(stale).toHaveLength(0);
    expect(memory.table.entries).toEqual(entries);
    const again = memory.allocate(MIB);
    expect(new Uint8Array(again.buffer).every((byte) => byte === 0)).toBe(true);
    again.free();
    kept.free();
    expect(memory.table.entries).toHaveLength(0);
    memory.close();
  });

  it('grows in files that get larger, and says when there can be no more', () => {
    const memory = make();
    const before = mappedFiles();
    for (let count = 0; count < 6; count += 1) memory.allocate(40 * MIB);
    expect(() => memory.allocate(2 ** 32 - 2 ** 28)).toThrow(
      expect.objectContaining({ code: 'IOVA_EXHAUSTED' }),
    );
    const sizes = memory.table.entries.map(({ size }) => size / MIB);
    expect(sizes).toEqual([40, 40, 80, 160]);
    expect(sizes.length).toBeLessThan(MOST_ARENAS);
    const ranges = memory.table.entries.map(({ guestAddress, size }) => [guestAddress, guestAddress + size]);
    for (const [start, end] of ranges) {
      expect(end).toBeLessThanOrEqual(2 ** 32);
      expect(ranges.filter(([other, last]) => other < end && start < last)).toHaveLength(1);
    }
    memory.close();
    expect(mappedFiles()).toBe(before);
  });

  it('leaves nothing behind, and nothing that crashes', () => {
    const files = openFileCount();
    const before = mappedFiles();
    const memory = make();
    const region = memory.allocate(MIB);
    const shared = memory.allocateShared(MIB);
    expect(memory.table.entries).toHaveLength(2);
    const { address, size } = shared.share();
    expect([address % pageSize(), size]).toEqual([0, MIB]);
    const views = [new Uint8Array(region.buffer), new Uint8Array(shared.buffer)];
    memory.close();
    memory.close();
    expect(views.map(({ length }) => length)).toEqual([0, 0]);
    expect(() => region.addressOf(0)).toThrow(RangeError);
    expect(() => memory.allocate(1)).toThrow(expect.objectContaining({ code: 'DEVICE_CLOSED' }));
    expect(mappedFiles()).toBe(before);
    expect(openFileCount()).toBe(files);
  });

  it('can not be shortened by whoever is given the file', async () => {
    const memory = make();
    const region = memory.allocate(MIB);
    const { truncate } = await import('node:fs/promises');
    await expect(truncate(`/proc/self/fd/${memory.table.fds[0]}`, 0)).rejects.toMatchObject({
      code: 'EPERM',
    });
    expect(new Uint8Array(region.buffer)[MIB - 1]).toBe(0);
    memory.close();
  });

  it('refuses sizes that can not be, and physical addresses', () => {
    const memory = make();
    for (const size of [0, -1, 1.5, NaN]) {
      expect(() => memory.allocate(size)).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }));
    }
    expect(() => memory.setAddressing('physical')).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID' }),
    );
    memory.setAddressing('iova');
    memory.close();
  });

  it('consists of huge pages where they are asked for, or says how many are missing', () => {
    const memory = make('2M');
    const files = openFileCount();
    if (freeHugePages('2M', '/sys') >= 2) {
      expect(memory.allocate(MIB, { buffers: true }).size).toBe(MIB);
      expect(memory.table.entries[0].size % (2 * MIB)).toBe(0);
    } else {
      expect(() => memory.allocate(MIB, { buffers: true })).toThrow(
        expect.objectContaining({ code: 'HUGE_PAGES_MISSING' }),
      );
      expect(openFileCount()).toBe(files);
    }
    memory.close();
  });
});
