/** A copy of the working tree in which packages can be built while other tests use the tree itself. */
import { cp, lstat, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { inRepository, ROOT } from '../vm/paths.js';
import { runWell } from './run.js';

export async function temporaryFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'virtio-net-package-'));
}

export async function removeFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
}

/** Copies what git has or would take, without what was built, into a folder; dependencies are linked to. */
export async function copyWorkingTree(folder: string): Promise<void> {
  // A tree that belongs to another user, as in a container of CI, is read all the same.
  const list = ['-c', 'safe.directory=*', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'];
  const { stdout } = await runWell('git', list, { cwd: ROOT });
  for (const path of stdout.split('\0').filter((name) => name !== '')) await copyFile(path, folder);
  await symlink(inRepository('node_modules'), join(folder, 'node_modules'));
}

async function copyFile(path: string, folder: string): Promise<void> {
  // A file that was removed but not committed yet is still on git's list.
  if ((await lstat(inRepository(path)).catch(() => undefined)) === undefined) return;
  await mkdir(dirname(join(folder, path)), { recursive: true });
  await cp(inRepository(path), join(folder, path), { verbatimSymlinks: true });
}
