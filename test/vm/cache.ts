/** Files under `.cache/vm`: each is made once under a name that says what is in it, and appears whole or not at all. */
import { createHash, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { withLock } from '../tools/lock.mjs';
import { CACHE, CACHE_LOCK } from './paths.js';

/** What has not been used for that long is removed. */
const KEEP_MILLISECONDS = 7 * 24 * 3600 * 1000;

/** A short name for what the parts say. */
export function digest(parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16);
}

/** Changes whenever the file is written anew. */
export async function fingerprint(path: string): Promise<string> {
  const { size, mtimeMs } = await stat(path);
  return `${path} ${size} ${mtimeMs}`;
}

async function removeUnused(): Promise<void> {
  const oldest = Date.now() - KEEP_MILLISECONDS;
  for (const name of await readdir(CACHE)) {
    const path = join(CACHE, name);
    if ((await stat(path)).mtimeMs < oldest) await rm(path, { recursive: true, force: true });
  }
}

async function makeEntry(path: string, make: (path: string) => Promise<void>): Promise<void> {
  await mkdir(CACHE, { recursive: true });
  await removeUnused();
  const draft = `${path}.${randomUUID()}`;
  try {
    await make(draft);
    await rename(draft, path);
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

/**
 * The path of a file or folder of the cache.
 *
 * @param make - called where it is not there yet: makes it at the path that it is given
 * @param signal - ends the waiting for another process that fills the cache, with an AbortError
 */
export async function cached(
  name: string,
  make: (path: string) => Promise<void>,
  signal?: AbortSignal,
): Promise<string> {
  const path = join(CACHE, name);
  if (!existsSync(path)) {
    const makeOnce = async (): Promise<void> => {
      if (!existsSync(path)) await makeEntry(path, make);
    };
    await withLock(CACHE_LOCK, makeOnce, signal);
  }
  const now = new Date();
  await utimes(path, now, now);
  return path;
}
