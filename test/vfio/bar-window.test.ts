import { closeSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SILENT } from '../../src/log.js';
import { pageSize } from '../../src/native/mapped-memory.js';
import { shim } from '../../src/native/shim.js';
import type { BarPart } from '../../src/pci/pci-function.js';
import { BarWindow, type BarOwner } from '../../src/vfio/bar-window.js';
import type { Range } from '../../src/vfio/capability-chain.js';
import { buildShim } from '../native/build-shim.js';

/** A file stands for the device: mapping it and pread/pwrite reach the same bytes. */
let folder: string;
let fd: number;
let owner: BarOwner & { decodesMemory: boolean };
let bySystemCall: number;

beforeEach(() => {
  buildShim();
  folder = mkdtempSync(join(tmpdir(), 'bar-'));
  fd = openSync(join(folder, 'device'), 'w+');
  ftruncateSync(fd, 8 * pageSize());
  owner = { address: '0000:00:10.0', log: SILENT, deviceFd: fd, decodesMemory: true };
  bySystemCall = 0;
  const { region_read: read, region_write: write } = shim();
  const counted =
    <A extends unknown[]>(call: (...args: A) => number) =>
    (...args: A): number => {
      bySystemCall += 1;
      return call(...args);
    };
  vi.spyOn(shim(), 'region_read').mockImplementation(counted(read));
  vi.spyOn(shim(), 'region_write').mockImplementation(counted(write));
});
afterEach(() => {
  vi.restoreAllMocks();
  closeSync(fd);
  rmSync(folder, { recursive: true });
});

function openWindow(mappable: readonly Range[], part?: BarPart): BarWindow {
  const region = { size: 4 * pageSize(), offset: 2 * pageSize(), mappable };
  return new BarWindow(owner, 4, region, () => undefined, part);
}

function byteInFile(offset: number): number {
  const bytes = new Uint8Array(1);
  readSync(fd, bytes, 0, 1, 2 * pageSize() + offset);
  return bytes[0];
}

describe('BarWindow', () => {
  it('uses the mapping where the whole BAR can be mapped', () => {
    const window = openWindow([{ start: 0, end: 4 * pageSize() }]);
    window.write(4 * pageSize() - 4, 4, 0xa1b2c3d4);
    expect(window.read(4 * pageSize() - 2, 2)).toBe(0xa1b2);
    expect(byteInFile(4 * pageSize() - 4)).toBe(0xd4);
    expect(bySystemCall).toBe(0);
    window.close();
  });

  it('uses system calls where nothing can be mapped', () => {
    const window = openWindow([]);
    window.write(8, 4, 0xfedcba98);
    expect(window.read(10, 1)).toBe(0xdc);
    expect(byteInFile(11)).toBe(0xfe);
    expect(bySystemCall).toBe(2);
    window.close();
  });

  it('uses each where a part can be mapped', () => {
    const areas = [
      { start: 0, end: pageSize() },
      { start: 3 * pageSize(), end: 4 * pageSize() },
    ];
    const window = openWindow(areas);
    for (let page = 0; page < 4; page++) window.write(page * pageSize() + 16, 2, 0x1100 + page);
    expect(bySystemCall).toBe(2);
    for (let page = 0; page < 4; page++) {
      expect(window.read(page * pageSize() + 16, 2)).toBe(0x1100 + page);
      expect(byteInFile(page * pageSize() + 16)).toBe(page);
    }
    expect(bySystemCall).toBe(4);
    window.close();
  });

  it('maps no more than the part that was asked for, in whole pages', () => {
    const map = vi.spyOn(shim(), 'memory_map');
    const window = openWindow([{ start: 0, end: 4 * pageSize() }], {
      start: pageSize() + 8,
      end: 2 * pageSize() + 8,
    });
    expect(map.mock.calls.map(([, offset, size]) => [offset, size])).toEqual([
      [3 * pageSize(), 2 * pageSize()],
    ]);
    for (let page = 0; page < 4; page++) window.write(page * pageSize() + 16, 2, 0x2200 + page);
    expect(bySystemCall).toBe(2);
    for (let page = 0; page < 4; page++) expect(byteInFile(page * pageSize() + 16)).toBe(page);
    window.close();
  });

  it('keeps away from the mapping while memory decoding is off', () => {
    const window = openWindow([{ start: 0, end: 4 * pageSize() }]);
    owner.decodesMemory = false;
    expect(window.read(0, 4)).toBe(0);
    expect(bySystemCall).toBe(1);
    owner.decodesMemory = true;
    expect(window.read(0, 4)).toBe(0);
    expect(bySystemCall).toBe(1);
    window.close();
  });

  it('falls back to system calls, and says so, where the kernel refuses the mapping', () => {
    const warnings: string[] = [];
    owner = { ...owner, log: { ...SILENT, warn: (_fields, message) => warnings.push(message) } };
    const window = openWindow([{ start: 1, end: pageSize() }]);
    expect(warnings).toEqual([expect.stringContaining('BAR 4 of 0000:00:10.0 could not be mapped')]);
    expect(window.read(4, 4)).toBe(0);
    expect(bySystemCall).toBe(1);
    window.close();
  });

  it('throws beyond its end, off the width, and after close', () => {
    for (const mappable of [[], [{ start: 0, end: 4 * pageSize() }]]) {
      const window = openWindow(mappable);
      for (const offset of [-1, 4 * pageSize(), 4 * pageSize() - 2, 2, NaN]) {
        expect(() => window.read(offset, 4)).toThrow(RangeError);
        expect(() => window.write(offset, 4, 0)).toThrow(RangeError);
      }
      window.close();
      window.close();
      expect(() => window.read(0, 4)).toThrow(expect.objectContaining({ code: 'DEVICE_CLOSED' }));
      expect(() => window.write(0, 4, 0)).toThrow(expect.objectContaining({ code: 'DEVICE_CLOSED' }));
    }
  });
});
