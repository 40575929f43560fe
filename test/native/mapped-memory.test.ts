import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { MappedMemory, pageSize } from '../../src/native/mapped-memory.js';
import { buildShim } from './build-shim.js';
import { mappingsAt, openFileCount, sharedAnonymousCount } from './process-state.js';
import { runFixture } from './run-fixture.js';

beforeAll(buildShim);

describe('MappedMemory', () => {
  it('is zeroed, on a page boundary, of whole pages', () => {
    const memory = MappedMemory.allocate(pageSize() + 1);
    expect(memory.size).toBe(2 * pageSize());
    expect(memory.buffer.byteLength).toBe(memory.size);
    expect(memory.address % pageSize()).toBe(0);
    expect(new Uint8Array(memory.buffer).every((byte) => byte === 0)).toBe(true);
    memory.close();
  });

  it('is populated, and is not inherited by a forked child', () => {
    const memory = MappedMemory.allocate(16 * pageSize());
    const smaps = readFileSync('/proc/self/smaps', 'utf8');
    const start = smaps.slice(smaps.indexOf(`${memory.address.toString(16)}-`));
    expect(start).toMatch(new RegExp(`^Rss: +${(16 * pageSize()) / 1024} kB`, 'm'));
    expect(/^VmFlags:(.*)$/m.exec(start)?.[1]).toContain(' dc ');
    memory.close();
  });

  it('can be locked', () => {
    const locked = (): number =>
      Number(/VmLck:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
    const before = locked();
    const memory = MappedMemory.allocate(4 * pageSize(), { locked: true });
    expect(locked() - before).toBe((4 * pageSize()) / 1024);
    memory.close();
    expect(locked()).toBe(before);
  });

  it('uses huge pages, or says that the system has none', () => {
    const free = Number(
      readFileSync('/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages', { encoding: 'utf8' }),
    );
    const allocate = (): MappedMemory => MappedMemory.allocate(1, { hugePages: '2M' });
    if (free === 0) {
      expect(allocate).toThrow(expect.objectContaining({ code: 'NATIVE_CALL_FAILED', errno: 12 }));
    } else {
      const memory = allocate();
      expect(memory.size).toBe(2 ** 21);
      memory.close();
    }
  });

  it('is unmapped by close, and every view of it has length 0', () => {
    const memory = MappedMemory.allocate(pageSize());
    const whole = new Uint8Array(memory.buffer);
    const part = whole.subarray(16, 32);
    const words = new Uint32Array(memory.buffer, 64, 4);
    words[0] = 0x12345678;
    expect(mappingsAt(memory.address)).toHaveLength(1);
    memory.close();
    memory.close();
    expect(mappingsAt(memory.address)).toHaveLength(0);
    expect([memory.buffer.byteLength, whole.length, part.length, words.length]).toEqual([0, 0, 0, 0]);
    expect(words[0]).toBeUndefined();
    expect(() => Atomics.load(words, 0)).toThrow(TypeError);
  });

  it('is safe to touch after close from code that was optimised while it was open', () => {
    const memory = MappedMemory.allocate(pageSize());
    const words = new Uint32Array(memory.buffer);
    const bytes = new Uint8Array(memory.buffer);
    const spin = (rounds: number): number => {
      let sum = 0;
      for (let i = 0; i < rounds; i++) {
        words[i & 1023] = i;
        bytes[4095] = 1;
        sum += words[(i + 1) & 1023] ?? 1e9;
      }
      return sum;
    };
    for (let i = 0; i < 200; i++) expect(spin(10_000)).toBeLessThan(1e9);
    memory.close();
    for (let i = 0; i < 20; i++) expect(spin(10_000)).toBe(10_000 * 1e9);
  });

  it('is safe where close comes in the middle of an optimised loop', () => {
    const touch = (memory: MappedMemory, closeAt: number): number => {
      const words = new Uint32Array(memory.buffer);
      let gone = 0;
      for (let i = 0; i < 20_000; i++) {
        if (i === closeAt) memory.close();
        words[i & 1023] = i;
        if (!((i & 1023) in words)) gone += 1;
      }
      return gone;
    };
    for (let i = 0; i < 50; i++) expect(touch(MappedMemory.allocate(pageSize()), 19_990)).toBe(10);
  });

  it('does not crash a program whose byte stream transferred the buffer', () => {
    const { status, signal, stdout, stderr } = runFixture('transferred-memory.ts');
    expect({ status, signal, stdout, stderr }).toEqual({
      status: 0,
      signal: null,
      stdout: '0 16 0\n',
      stderr: '',
    });
  });

  it('refuses sizes that can not be', () => {
    for (const size of [0, -1, 1.5, NaN, Infinity, 2 ** 33]) {
      expect(() => MappedMemory.allocate(size)).toThrow(RangeError);
    }
  });

  it('maps a file so that two mappings of it show the same bytes', () => {
    const folder = mkdtempSync(join(tmpdir(), 'map-'));
    const fd = openSync(join(folder, 'file'), 'w+');
    ftruncateSync(fd, 2 * pageSize());
    const one = MappedMemory.mapFile(fd, 0, 2 * pageSize());
    const two = MappedMemory.mapFile(fd, pageSize(), pageSize());
    new Uint8Array(one.buffer)[pageSize() + 5] = 42;
    expect(new Uint8Array(two.buffer)[5]).toBe(42);
    expect(() => MappedMemory.mapFile(fd, 1, pageSize())).toThrow(expect.objectContaining({ errno: 22 }));
    closeSync(fd);
    one.close();
    two.close();
    rmSync(folder, { recursive: true });
  });

  it('leaks no file and no mapping over 1000 rounds', () => {
    MappedMemory.allocate(pageSize()).close();
    const before = [openFileCount(), sharedAnonymousCount()];
    for (let i = 0; i < 1000; i++) {
      const memory = MappedMemory.allocate(4 * pageSize());
      new Uint8Array(memory.buffer).fill(i);
      memory.close();
    }
    expect([openFileCount(), sharedAnonymousCount()]).toEqual(before);
  });
});
