/** The guest's kernel: Debian's for cloud machines, downloaded and unpacked into the cache, never installed. */
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { cached } from './cache.js';
import { CACHE } from './paths.js';
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

async function findPackage(): Promise<string> {
  let name = await askForPackage();
  if (name === undefined && isRoot()) {
    await capture('VM_UNAVAILABLE', 'apt-get', ['update', '-qq']);
    name = await askForPackage();
  }
  if (name !== undefined) return name;
  throw new VmError(
    'VM_UNAVAILABLE',
    `The test VM runs the kernel of Debian's package ${META_PACKAGE}, which apt does not know here. ` +
      'Run: sudo apt-get update (on Debian; elsewhere, use a Debian container)',
  );
}

async function download(packageName: string, folder: string): Promise<string> {
  const get = (): Promise<string> =>
    capture('VM_UNAVAILABLE', 'apt-get', ['download', '-qq', packageName], folder);
  // Package lists age: an old one names a file that the mirror does not have any more.
  await get().catch(async (error: unknown) => {
    if (!isRoot()) throw error;
    await capture('VM_UNAVAILABLE', 'apt-get', ['update', '-qq']);
    await get();
  });
  const file = (await readdir(folder)).find((name) => name.endsWith('.deb'));
  if (file === undefined)
    throw new VmError('VM_UNAVAILABLE', `apt-get download ${packageName} gave no file.`);
  return join(folder, file);
}

/** Debian 13 and later compress modules, which the guest's small modprobe does not understand. */
async function decompressModules(folder: string): Promise<void> {
  const files = await readdir(folder, { recursive: true });
  const packed = files.filter((name) => name.endsWith('.ko.xz'));
  if (packed.length > 0) await capture('VM_UNAVAILABLE', 'xz', ['--decompress', '--', ...packed], folder);
}

async function unpack(packageName: string, folder: string): Promise<void> {
  await mkdir(folder);
  const file = await download(packageName, folder);
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

/**
 * The kernel that guests run; the first call on a machine downloads it (27 MB).
 *
 * @throws VmError VM_UNAVAILABLE
 */
export async function provideKernel(onProgress: (step: string) => void): Promise<GuestKernel> {
  const known = await findCached();
  if (known !== undefined) return describe(await cached(known, () => Promise.resolve()));
  onProgress('Downloading the kernel of the guest');
  const packageName = await findPackage();
  return describe(await cached(CACHE_PREFIX + packageName, (folder) => unpack(packageName, folder)));
}
