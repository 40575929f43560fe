import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MappedMemory, pageSize } from '../../src/native/mapped-memory.js';
import { MmioMapping } from '../../src/native/mmio.js';
import { shim } from '../../src/native/shim.js';
import { buildShim } from './build-shim.js';
import { openFileCount } from './process-state.js';

let folder: string;
let fd: number;
let memory: MappedMemory;

beforeEach(() => {
  buildShim();
  folder = mkdtempSync(join(tmpdir(), 'mmio-'));
  fd = openSync(join(folder, 'file'), 'w+');
  ftruncateSync(fd, pageSize());
  memory = MappedMemory.mapFile(fd, 0, pageSize());
});
afterEach(() => {
  memory.close();
  closeSync(fd);
  rmSync(folder, { recursive: true });
});

describe('MmioMapping', () => {
  it('reads and writes little-endian with exactly the width', () => {
    const registers = MmioMapping.map(fd, 0, pageSize());
    const bytes = new Uint8Array(memory.buffer);
    bytes.fill(0xee, 0, 16);
    registers.write(4, 4, 0xfedcba98);
    registers.write(10, 2, 0x1234);
    registers.write(13, 1, 0x1ff);
    const expected = [
      0xee, 0xee, 0xee, 0xee, 0x98, 0xba, 0xdc, 0xfe, 0xee, 0xee, 0x34, 0x12, 0xee, 0xff, 0xee,
    ];
    expect([...bytes.subarray(0, 15)]).toEqual(expected);
    expect(registers.read(4, 4)).toBe(0xfedcba98);
    expect(registers.read(4, 2)).toBe(0xba98);
    expect(registers.read(7, 1)).toBe(0xfe);
    registers.close();
  });

  it('throws where an access would be out of bounds, not aligned, or after close', () => {
    const registers = MmioMapping.map(fd, 0, pageSize());
    for (const offset of [-4, pageSize(), pageSize() - 2, 2, 0.5, NaN]) {
      expect(() => registers.read(offset, 4)).toThrow(RangeError);
      expect(() => registers.write(offset, 4, 0)).toThrow(RangeError);
    }
    registers.close();
    registers.close();
    expect(() => registers.read(0, 4)).toThrow(RangeError);
    expect(() => registers.write(0, 4, 0)).toThrow(RangeError);
  });

  it('leaks nothing over 1000 rounds', () => {
    const before = openFileCount();
    for (let i = 0; i < 1000; i++) MmioMapping.map(fd, 0, pageSize()).close();
    expect(openFileCount()).toBe(before);
  });
});

describe('region access by system call', () => {
  it('reads and writes exactly the width', () => {
    const bytes = new Uint8Array(memory.buffer);
    expect(shim().region_write(fd, 8, 4, 0xfedcba98)).toBe(0);
    expect(shim().region_write(fd, 14, 2, 0xaabbccdd)).toBe(0);
    expect(shim().region_write(fd, 17, 1, 0x77)).toBe(0);
    expect([...bytes.subarray(8, 18)]).toEqual([0x98, 0xba, 0xdc, 0xfe, 0, 0, 0xdd, 0xcc, 0, 0x77]);
    expect(shim().region_read(fd, 8, 4)).toBe(0xfedcba98);
    expect(shim().region_read(fd, 10, 2)).toBe(0xfedc);
    expect(shim().region_read(fd, 17, 1)).toBe(0x77);
  });

  it('reports a short access as EIO', () => {
    expect(shim().region_read(fd, pageSize() - 2, 4)).toBe(-5);
  });
});
