import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the repository. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Kernels and guest archives, kept from run to run. Removing it is always safe while no VM is being started. */
export const CACHE = join(ROOT, '.cache', 'vm');
/** One process at a time fills the cache. */
export const CACHE_LOCK = join(ROOT, '.cache', 'vm.lock');

/** The path of something in the repository. */
export const inRepository = (...parts: string[]): string => join(ROOT, ...parts);
