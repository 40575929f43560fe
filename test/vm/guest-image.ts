/** The whole initial file system of one run: the cached archives and, behind them, what only this run has. */
import { copyFile, constants, readdir, stat } from 'node:fs/promises';
import { createReadStream, createWriteStream } from 'node:fs';
import { join, posix } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { writeArchive, type ArchiveEntry } from './cpio.js';
import type { PlannedNic } from './nic.js';
import { inRepository } from './paths.js';
import { VmError } from './vm-error.js';

/**
 * A file for the guest: its contents, or the file or folder of this machine that is copied. Without a mode,
 * contents get 0644 and copies keep theirs.
 */
export type GuestFile =
  | string
  | Uint8Array
  | { readonly contents: string | Uint8Array; readonly mode?: number }
  | { readonly from: string; readonly mode?: number };

/** What a run adds to the guest's file system. */
export interface RunFiles {
  readonly command: string;
  readonly nics: readonly PlannedNic[];
  readonly files: Readonly<Record<string, GuestFile>>;
}

async function copyEntries(
  path: string,
  from: string,
  mode: number | undefined,
): Promise<[string, ArchiveEntry][]> {
  const found = await stat(from).catch((error: unknown) => {
    throw new VmError('VM_OPTION_INVALID', `${from}, a file for the guest, can not be read.`, error);
  });
  if (!found.isDirectory()) return [[path, { type: 'copy', from, ...(mode === undefined ? {} : { mode }) }]];
  const names = await readdir(from);
  const lists = names.map((name) => copyEntries(posix.join(path, name), join(from, name), mode));
  return [[path, { type: 'directory' }], ...(await Promise.all(lists)).flat()];
}

async function fileEntries(path: string, file: GuestFile): Promise<[string, ArchiveEntry][]> {
  if (!path.startsWith('/') || posix.normalize(path) !== path) {
    throw new VmError('VM_OPTION_INVALID', `"${path}" is not an absolute, plain path in the guest.`);
  }
  if (typeof file === 'string' || file instanceof Uint8Array)
    return [[path, { type: 'file', contents: file }]];
  if ('from' in file) return copyEntries(path, file.from, file.mode);
  return [[path, { type: 'file', ...file }]];
}

async function runEntries(run: RunFiles): Promise<Map<string, ArchiveEntry>> {
  const nics = run.nics.map(({ address, driver }) => `${address} ${driver}\n`).join('');
  const lists = Object.entries(run.files).map(([path, file]) => fileEntries(path, file));
  return new Map<string, ArchiveEntry>([
    ['/init', { type: 'copy', from: inRepository('test/vm/guest/init.sh'), mode: 0o755 }],
    ['/run/vm/command', { type: 'file', contents: run.command }],
    ['/run/vm/nics', { type: 'file', contents: nics }],
    ...(await Promise.all(lists)).flat(),
  ]);
}

/**
 * Puts the archives of a run together.
 *
 * @throws VmError VM_OPTION_INVALID for a file that can not be given to the guest
 */
export async function composeImage(
  file: string,
  archives: readonly [base: string, ...further: string[]],
  run: RunFiles,
): Promise<void> {
  const entries = await runEntries(run);
  const [base, ...further] = archives;
  await copyFile(base, file, constants.COPYFILE_FICLONE);
  for (const archive of further) {
    await pipeline(createReadStream(archive), createWriteStream(file, { flags: 'a' }));
  }
  await writeArchive(file, entries, { append: true });
}
