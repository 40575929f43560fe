import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { withLock } from '../tools/lock.mjs';

let folder: string;
let lock: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lock-test-'));
  lock = join(folder, 'deeper', 'lock');
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('withLock', () => {
  it('lets one in at a time', async () => {
    let inside = 0;
    const visit = async (): Promise<void> => {
      expect(++inside).toBe(1);
      await new Promise((resolve) => setTimeout(resolve, 5));
      inside--;
    };
    await Promise.all([1, 2, 3].map(() => withLock(lock, visit)));
    expect(readdirSync(join(folder, 'deeper'))).toEqual([]);
  });

  it('gives the result, and is given back after a failure', async () => {
    await expect(withLock(lock, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(existsSync(lock)).toBe(false);
    expect(await withLock(lock, () => 7)).toBe(7);
  });

  it('takes over the lock of a process that is gone', async () => {
    const { pid } = spawnSync('true');
    await withLock(lock, () => undefined);
    writeFileSync(lock, String(pid));
    expect(await withLock(lock, () => 'mine')).toBe('mine');
    expect(readdirSync(join(folder, 'deeper'))).toEqual([]);
  });
});
