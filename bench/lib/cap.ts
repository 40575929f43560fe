/**
 * The npm package cap, compiled for the comparison and for nothing else: it is no dependency of this project. It needs
 * libpcap and its headers, which come from Debian's packages, unpacked into the cache and never installed.
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cached } from '../../test/vm/cache.js';
import type { GuestFile } from '../../test/vm/guest-image.js';
import { capture } from '../../test/vm/subprocess.js';
import { inRepository } from '../../test/vm/paths.js';

const VERSION = '0.2.1';
const ENTRY = `cap-${VERSION}-node-${process.versions.modules}`;
const DEBIAN_PACKAGES = [
  'libpcap0.8-dev',
  'libpcap0.8',
  'libdbus-1-3',
  'libibverbs1',
  'libnl-3-200',
  'libnl-route-3-200',
];
const LIBRARIES = ['usr/lib/x86_64-linux-gnu', 'lib/x86_64-linux-gnu'];
const GUEST_PACKAGE = '/app/node_modules/cap';
const GUEST_LIBRARIES = '/lib/x86_64-linux-gnu';

/** Where the headers of this Node.js are, if they are installed. */
const nodeHeaders = (): string => join(dirname(process.execPath), '..', 'include', 'node');

async function unpackLibpcap(folder: string, signal: AbortSignal): Promise<void> {
  await capture('VM_UNAVAILABLE', 'apt-get', ['download', '-qq', ...DEBIAN_PACKAGES], {
    cwd: folder,
    signal,
  });
  for (const file of (await readdir(folder)).filter((name) => name.endsWith('.deb'))) {
    await capture('VM_UNAVAILABLE', 'dpkg', ['-x', join(folder, file), folder], { signal });
    await rm(join(folder, file));
  }
}

async function compile(folder: string, signal: AbortSignal): Promise<void> {
  const libraries = LIBRARIES.map((path) => join(folder, path));
  const source = join(folder, 'node_modules', 'cap', 'src', 'binding.cc');
  const includes = [nodeHeaders(), join(folder, 'node_modules', 'nan'), join(folder, 'usr', 'include')];
  await capture(
    'VM_UNAVAILABLE',
    'g++',
    [
      ...['-O2', '-w', '-shared', '-fPIC', '-std=gnu++17'],
      ...['-DNODE_GYP_MODULE_NAME=cap', '-DBUILDING_NODE_EXTENSION'],
      ...includes.map((path) => `-I${path}`),
      source,
      ...libraries.flatMap((path) => [`-L${path}`, `-Wl,-rpath-link,${path}`]),
      ...['-l:libpcap.so.0.8', '-o', join(folder, 'cap.node')],
    ],
    { signal },
  );
}

async function make(folder: string, signal: AbortSignal): Promise<void> {
  await mkdir(folder);
  await unpackLibpcap(folder, signal);
  const install = ['install', '--prefix', folder, '--ignore-scripts', '--no-save', '--no-audit', '--no-fund'];
  await capture('VM_UNAVAILABLE', 'npm', [...install, '--loglevel=error', `cap@${VERSION}`], {
    cwd: folder,
    signal,
  });
  await compile(folder, signal);
}

/** The libraries that the add-on needs in the guest, by their names, and where they lie here. */
async function findLibraries(folder: string, signal: AbortSignal): Promise<Map<string, string>> {
  const path = LIBRARIES.map((part) => join(folder, part)).join(':');
  const words = [`LD_LIBRARY_PATH=${path}`, 'ldd', join(folder, 'cap.node')];
  const list = await capture('VM_UNAVAILABLE', 'env', words, { signal });
  return new Map([...list.matchAll(/(\S+) => (\/\S+) \(0x/g)].map(([, name, file]) => [name, file]));
}

/** Where there is no compiler, no package or no header, words that say so. */
export type CapInGuest =
  { readonly files: Readonly<Record<string, GuestFile>> } | { readonly missing: string };

/** The package as files for the guest; the first call on a machine downloads and compiles it. */
export async function provideCap(signal: AbortSignal): Promise<CapInGuest> {
  if (!existsSync(join(nodeHeaders(), 'node.h')))
    return { missing: 'the headers of this Node.js are not installed' };
  try {
    const folder = await cached(ENTRY, (path) => make(path, signal), signal);
    const libraries = await findLibraries(folder, signal);
    const files: Record<string, GuestFile> = {
      [`${GUEST_PACKAGE}/package.json`]: { from: join(folder, 'node_modules', 'cap', 'package.json') },
      [`${GUEST_PACKAGE}/lib`]: { from: join(folder, 'node_modules', 'cap', 'lib') },
      [`${GUEST_PACKAGE}/build/Release/cap.node`]: { from: join(folder, 'cap.node') },
    };
    for (const [name, from] of libraries) files[`${GUEST_LIBRARIES}/${name}`] = { from };
    return { files };
  } catch (error) {
    signal.throwIfAborted();
    const [first] = (error instanceof Error ? error.message : String(error)).split('\n');
    return { missing: first.replaceAll(inRepository(), '') };
  }
}
