/** The guest's kernel: Debian's for cloud machines, downloaded and unpacked into the cache, never installed. */
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { findProgram } from '../tools/programs.mjs';
import { cached } from './cache.js';
import { CACHE } from './paths.js';
import type { Preparation } from './progress.js';
import { capture } from './subprocess.js';
import { VmError } from './vm-error.js';

/** Depends on the newest kernel package of its kind. */
const META_PACKAGE = 'linux-image-cloud-amd64';
const CACHE_PREFIX = 'kernel-';

export interface GuestKernel {
  /** For example `6.1.0-56-cloud-amd64`. */
  readonly release: string;
  /** The path of the compressed kernel. */
  readonly image: string;
  /** The folder that holds `modules.dep` and the modules. */
  readonly modules: string;
}

const isRoot = (): boolean => process.getuid?.() === 0;

async function askForPackage(): Promise<string | undefined> {
  const answer = await capture('VM_UNAVAILABLE', 'apt-cache', ['depends', META_PACKAGE]).catch(() => '');
  return /^\s*Depends: (linux-image-\S+)/m.exec(answer)?.[1];
}

async function updateLists(signal?: AbortSignal): Promise<void> {
  await capture('VM_UNAVAILABLE', 'apt-get', ['update', '-qq'], { signal });
}

async function findPackage(signal?: AbortSignal): Promise<string> {
  let name = await askForPackage();
  if (name === undefined && isRoot()) {
    await updateLists(signal);
    name = await askForPackage();
  }
  if (name !== undefined) return name;
  throw new VmError(
    'VM_UNAVAILABLE',
    `The test VM runs the kernel of Debian's package ${META_PACKAGE}, which apt does not know here. ` +
      'Run: sudo apt-get update (on Debian; elsewhere, use a Debian container)',
  );
}

async function download(packageName: string, folder: string, signal?: AbortSignal): Promise<string> {
  const options = { cwd: folder, signal };
  await capture('VM_UNAVAILABLE', 'apt-get', ['download', '-qq', packageName], options);
  const file = (await readdir(folder)).find((name) => name.endsWith('.deb'));
  if (file === undefined)
    throw new VmError('VM_UNAVAILABLE', `apt-get download ${packageName} gave no file.`);
  return join(folder, file);
}

/** Debian 13 and later compress modules, which the guest's small modprobe does not understand. */
async function decompressModules(folder: string): Promise<void> {
  const files = await readdir(folder, { recursive: true });
  const packed = files.filter((name) => name.endsWith('.ko.xz'));
  // Not every machine has xz, but each that can run the VM has busybox.
  const busybox = findProgram('busybox') ?? 'busybox';
  const args = ['unxz', '--', ...packed];
  if (packed.length > 0) await capture('VM_UNAVAILABLE', busybox, args, { cwd: folder });
}

async function unpack(packageName: string, folder: string, signal?: AbortSignal): Promise<void> {
  await mkdir(folder);
  const file = await download(packageName, folder, signal);
  await capture('VM_UNAVAILABLE', 'dpkg', ['-x', file, folder]);
  await rm(file);
  if (!existsSync(join(folder, 'lib'))) await symlink('usr/lib', join(folder, 'lib'));
  const { release, modules } = await describe(folder);
  await decompressModules(modules);
  await capture('VM_UNAVAILABLE', 'depmod', ['-b', folder, release]);
}

async function describe(folder: string): Promise<GuestKernel> {
  const release = (await readdir(join(folder, 'lib', 'modules'))).at(0);
  if (release === undefined) throw new VmError('VM_UNAVAILABLE', `There are no kernel modules in ${folder}.`);
  const image = join(folder, 'boot', `vmlinuz-${release}`);
  return { release, image, modules: join(folder, 'lib', 'modules', release) };
}

/** The newest kernel of the cache by name, so that no run waits for apt. */
async function findCached(): Promise<string | undefined> {
  const names = existsSync(CACHE) ? await readdir(CACHE) : [];
  // A name with a UUID behind it is one that is being unpacked.
  const kernels = names.filter((name) => name.startsWith(CACHE_PREFIX) && name.endsWith('-amd64'));
  return kernels.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1);
}

/** The cached kernel of that package, or else the package downloaded and unpacked. */
function provide(packageName: string, signal?: AbortSignal): Promise<string> {
  const make = (folder: string): Promise<void> => unpack(packageName, folder, signal);
  return cached(CACHE_PREFIX + packageName, make, signal);
}

/**
 * Package lists age: old ones name a file that the mirror does not have any more, or a package that another one has
 * taken the place of.
 */
async function provideNewest(signal?: AbortSignal): Promise<string> {
  const packageName = await findPackage(signal);
  try {
    return await provide(packageName, signal);
  } catch (error) {
    if (signal?.aborted === true || !isRoot()) throw withRemedy(error);
    await updateLists(signal);
    return provide(await findPackage(signal), signal);
  }
}

function withRemedy(error: unknown): unknown {
  if (!(error instanceof VmError)) return error;
  return new VmError(
    error.code,
    `${error.message}\nWhere the package lists are old: sudo apt-get update`,
    error,
  );
}

/**
 * The kernel that guests run; the first call on a machine downloads it (27 MB).
 *
 * @throws VmError VM_UNAVAILABLE
 */
export async function provideKernel({ onProgress, signal }: Preparation): Promise<GuestKernel> {
  const known = await findCached();
  if (known !== undefined) return describe(await cached(known, () => Promise.resolve()));
  onProgress('Downloading the kernel of the guest');
  return describe(await provideNewest(signal));
}
