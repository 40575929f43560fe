/**
 * A lock between processes: a file that holds the process id of its owner.
 *
 * Several test files may find at the same time that something has to be built; one builds, the others wait.
 */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const RETRY_MILLISECONDS = 100;
let attempts = 0;

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

function readOwner(path) {
  try {
    return Number(readFileSync(path, 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** A hard link appears with its content already inside, so nobody ever reads a lock without an owner. */
function tryAcquire(path) {
  const own = `${path}.${process.pid}.${++attempts}`;
  writeFileSync(own, String(process.pid));
  try {
    linkSync(own, path);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(own, { force: true });
  }
}

/** Takes a dead owner's lock out of the way. Renaming first lets only one of several waiters do it. */
function removeStale(path) {
  const owner = readOwner(path);
  if (owner === undefined || isAlive(owner)) return;
  const aside = `${path}.stale.${process.pid}.${++attempts}`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if (error.code === 'ENOENT') return;
    throw error;
  }
  const taken = readOwner(aside);
  // Between the look and the rename a live process may have taken the lock: it gets it back.
  if (taken !== undefined && taken !== owner) renameSync(aside, path);
  else rmSync(aside, { force: true });
}

export async function withLock(path, action, signal) {
  mkdirSync(dirname(path), { recursive: true });
  while (!tryAcquire(path)) {
    removeStale(path);
    await sleep(RETRY_MILLISECONDS, undefined, { signal });
  }
  try {
    return await action();
  } finally {
    rmSync(path, { force: true });
  }
}
