/**
 * VFIO modules that can do without an IOMMU, which Debian's kernels leave out: built from the kernel's sources with its
 * own headers. Packages are downloaded and unpacked, never installed.
 */
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { cached } from './cache.js';
import { writeArchive, type ArchiveEntry } from './cpio.js';
import type { GuestKernel } from './guest-kernel.js';
import type { Preparation } from './progress.js';
import { capture, type CaptureOptions } from './subprocess.js';
import { VmError } from './vm-error.js';

/** To be counted up when the modules are built in another way. */
const BUILD_VERSION = '1';
/** The modules whose code depends on the mode. */
const MODULES = ['vfio', 'vfio_iommu_type1'];
/** What of `drivers/vfio` is not built again. */
const LEFT_OUT = ['PCI', 'PCI_CORE', 'MDEV', 'PLATFORM', 'AMBA', 'VIRQFD', 'GROUP_VIRQFD'];

const run = (program: string, args: readonly string[], options?: CaptureOptions): Promise<string> =>
  capture('VM_UNAVAILABLE', program, args, options);

/** Packages that a package depends on by itself, whose names match. */
async function dependencies(packageName: string, pattern: RegExp): Promise<string[]> {
  const answer = await run('apt-cache', ['depends', packageName]);
  return [...answer.matchAll(/^\s*Depends: (\S+)/gm)]
    .map((match) => match[1])
    .filter((name) => pattern.test(name));
}

/** Headers for both the flavour and all flavours, the programs of the build, and the library that one of them loads. */
async function buildPackages({ release }: GuestKernel): Promise<string[]> {
  const headers = `linux-headers-${release}`;
  const parts = await dependencies(headers, /^linux-(headers|kbuild)-/);
  const kbuild = parts.find((name) => name.startsWith('linux-kbuild-'));
  const libraries = kbuild === undefined ? [] : await dependencies(kbuild, /^libelf/);
  const [, version = ''] = /^(\d+\.\d+)\./.exec(release) ?? [];
  return [headers, ...parts, ...libraries, `linux-source-${version}`];
}

async function unpackPackages(
  packages: readonly string[],
  folder: string,
  options: CaptureOptions,
): Promise<void> {
  const downloads = join(folder, 'downloads');
  await mkdir(downloads, { recursive: true });
  await run('apt-get', ['download', '-qq', ...packages], { ...options, cwd: downloads });
  for (const file of await readdir(downloads)) {
    await run('dpkg', ['-x', join(downloads, file), folder], options);
    await rm(join(downloads, file));
  }
}

/** The folder of VFIO's sources; the rest of the kernel's is left in its archive. */
async function unpackSources(folder: string, options: CaptureOptions): Promise<string> {
  const archives = await readdir(join(folder, 'usr/src'));
  const archive = archives.find((name) => /^linux-source-.*\.tar\.xz$/.test(name));
  if (archive === undefined)
    throw new VmError('VM_UNAVAILABLE', 'The package of the kernel sources has no archive.');
  const path = `${basename(archive, '.tar.xz')}/drivers/vfio`;
  await run('busybox', ['tar', '-xJf', join('usr/src', archive), path], { ...options, cwd: folder });
  return join(folder, path);
}

/** The headers name the folder that they would be installed in. */
async function prepareHeaders({ release }: GuestKernel, folder: string): Promise<string> {
  const headers = join(folder, 'usr/src', `linux-headers-${release}`);
  const makefile = join(headers, 'Makefile');
  const text = await readFile(makefile, 'utf8');
  await writeFile(makefile, text.replaceAll('/usr/src/', `${resolve(folder)}/usr/src/`));
  return headers;
}

async function build(kernel: GuestKernel, folder: string, options: CaptureOptions): Promise<void> {
  const work = join(folder, 'work');
  await unpackPackages(await buildPackages(kernel), work, options);
  const sources = await unpackSources(work, options);
  const headers = await prepareHeaders(kernel, work);
  const libraries = join(work, 'usr/lib/x86_64-linux-gnu');
  await run(
    'make',
    [
      ...['-s', '-C', headers, `M=${sources}`, 'CC=gcc', 'CONFIG_VFIO_NOIOMMU=y'],
      ...LEFT_OUT.map((name) => `CONFIG_VFIO_${name}=`),
      ...['KCFLAGS=-DCONFIG_VFIO_NOIOMMU=1', 'modules'],
    ],
    { ...options, environment: { LD_LIBRARY_PATH: libraries } },
  );
  await mkdir(folder, { recursive: true });
  for (const name of MODULES) await cp(join(sources, `${name}.ko`), join(folder, `${name}.ko`));
  await rm(work, { recursive: true });
}

/** Each module in the place of the kernel's own. */
async function entries(kernel: GuestKernel, folder: string): Promise<Map<string, ArchiveEntry>> {
  const list = await readFile(join(kernel.modules, 'modules.dep'), 'utf8');
  const place = (name: string): string => {
    const path = new RegExp(`^(\\S*/${name}\\.ko):`, 'm').exec(list)?.[1];
    if (path === undefined)
      throw new VmError('VM_UNAVAILABLE', `The kernel of the guest lacks the module ${name}.`);
    return `/lib/modules/${kernel.release}/${path}`;
  };
  return new Map(MODULES.map((name) => [place(name), { type: 'copy', from: join(folder, `${name}.ko`) }]));
}

/**
 * The path of an archive with the modules, for behind the one with the kernel's own. The first call on a machine
 * downloads the kernel's sources (140 MB) and builds.
 *
 * @throws VmError VM_UNAVAILABLE
 */
export async function provideNoIommuModules(kernel: GuestKernel, preparation: Preparation): Promise<string> {
  const { onProgress, signal } = preparation;
  const name = `vfio-noiommu-${BUILD_VERSION}-${kernel.release}`;
  const folder = await cached(
    name,
    (path) => {
      onProgress('Building the VFIO modules of the guest that do without an IOMMU');
      return build(kernel, path, { signal });
    },
    signal,
  );
  const make = async (path: string): Promise<void> => writeArchive(path, await entries(kernel, folder));
  return cached(`${name}.cpio`, make, signal);
}
