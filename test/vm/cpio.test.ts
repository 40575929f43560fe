import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findProgram } from '../tools/programs.mjs';
import { writeArchive, type ArchiveEntry } from './cpio.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cpio-test-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

interface Member {
  readonly name: string;
  readonly mode: number;
  readonly contents: string;
}

/** Reads what was written by the rules of the format: every header and every body starts at a multiple of 4. */
function readMembers(archive: Buffer): Member[] {
  const members: Member[] = [];
  for (let offset = 0; offset < archive.length;) {
    if (archive[offset] === 0) {
      offset += 4;
      continue;
    }
    expect(archive.toString('latin1', offset, offset + 6)).toBe('070701');
    const field = (index: number): number =>
      Number.parseInt(archive.toString('latin1', offset + 6 + index * 8, offset + 14 + index * 8), 16);
    const [mode, size, nameSize] = [field(1), field(6), field(11)];
    const name = archive.toString('utf8', offset + 110, offset + 110 + nameSize - 1);
    const start = (offset + 110 + nameSize + 3) & ~3;
    if (name !== 'TRAILER!!!')
      members.push({ name, mode, contents: archive.toString('utf8', start, start + size) });
    offset = (start + size + 3) & ~3;
  }
  return members;
}

const entries = (list: Record<string, ArchiveEntry>) => new Map(Object.entries(list));

describe('writeArchive', () => {
  it('writes every kind of entry, parents first', async () => {
    const source = join(folder, 'source');
    writeFileSync(source, 'copied', { mode: 0o640 });
    const file = join(folder, 'a.cpio');
    await writeArchive(
      file,
      entries({
        '/b/c/file': { type: 'file', contents: 'x'.repeat(5), mode: 0o600 },
        '/b/copy': { type: 'copy', from: source },
        '/a': { type: 'symlink', target: 'b/copy' },
        '/dev/console': { type: 'character', major: 5, minor: 1 },
        '/tmp': { type: 'directory', mode: 0o1777 },
      }),
    );
    const archive = readFileSync(file);
    expect(archive.length % 512).toBe(0);
    expect(readMembers(archive)).toEqual([
      { name: 'a', mode: 0o120777, contents: 'b/copy' },
      { name: 'b', mode: 0o040755, contents: '' },
      { name: 'b/c', mode: 0o040755, contents: '' },
      { name: 'b/c/file', mode: 0o100600, contents: 'xxxxx' },
      { name: 'b/copy', mode: 0o100640, contents: 'copied' },
      { name: 'dev', mode: 0o040755, contents: '' },
      { name: 'dev/console', mode: 0o020600, contents: '' },
      { name: 'tmp', mode: 0o041777, contents: '' },
    ]);
  });

  it('appends an archive to another one', async () => {
    const file = join(folder, 'a.cpio');
    await writeArchive(file, entries({ '/one': { type: 'file', contents: '1' } }));
    await writeArchive(file, entries({ '/two': { type: 'file', contents: '22' } }), { append: true });
    expect(readMembers(readFileSync(file)).map((member) => member.contents)).toEqual(['1', '22']);
  });

  it('fails for a file that is not there', async () => {
    const missing = entries({ '/x': { type: 'copy', from: join(folder, 'missing') } });
    await expect(writeArchive(join(folder, 'a.cpio'), missing)).rejects.toThrow(/ENOENT/);
  });

  const busybox = findProgram('busybox');
  it.skipIf(busybox === undefined)('is understood by cpio', async () => {
    const file = join(folder, 'a.cpio');
    await writeArchive(file, entries({ '/d/odd': { type: 'file', contents: 'abc' } }));
    const names = execFileSync(busybox ?? '', ['cpio', '-t'], {
      input: readFileSync(file),
      encoding: 'utf8',
    });
    expect(names.trim().split('\n')).toEqual(['d', 'd/odd']);
  });
});
