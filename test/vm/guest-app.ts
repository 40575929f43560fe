/** The part of the guest's file system that changes with the project: the package and its examples, in /app. */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { cached, digest, fingerprint } from './cache.js';
import { writeArchive, type ArchiveEntry } from './cpio.js';
import { compilePrograms } from './guest-programs.js';
import {
  packDependencies,
  packOwnPackage,
  type PackedPackage,
  type PackageManifest,
} from './package-files.js';
import { inRepository } from './paths.js';
import type { Preparation } from './progress.js';
import { capture } from './subprocess.js';

/** To be counted up when what the archive is made of changes. */
const LAYOUT_VERSION = '1';

/** What the archive is made from: where one of these changes, it is made anew. */
const SOURCES = ['dist', 'native-shim', 'examples', 'package.json', 'package-lock.json', 'test/vm/guest'];

async function fingerprintTree(path: string): Promise<string[]> {
  if (!existsSync(path)) return [];
  const names = await readdir(path, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = names.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return Promise.all([path, ...files].sort().map((file) => fingerprint(file)));
}

function packageEntries(packed: PackedPackage): [string, ArchiveEntry][] {
  return packed.files.map((file) => [
    `/app/node_modules/${packed.manifest.name}/${file}`,
    { type: 'copy', from: join(packed.folder, file) },
  ]);
}

function commandEntries({ name, bin = {} }: PackageManifest): [string, ArchiveEntry][] {
  const commands = typeof bin === 'string' ? { [name]: bin } : bin;
  return Object.entries(commands).flatMap(([command, path]): [string, ArchiveEntry][] => {
    const file = path.replace(/^\.\//, '');
    return [
      [`/app/node_modules/.bin/${command}`, { type: 'symlink', target: `../${name}/${file}` }],
      // npm makes commands executable when it installs them.
      [`/app/node_modules/${name}/${file}`, { type: 'copy', from: inRepository(file), mode: 0o755 }],
    ];
  });
}

async function exampleEntries(): Promise<[string, ArchiveEntry][]> {
  const folder = inRepository('examples');
  const names = existsSync(folder) ? await readdir(folder, { recursive: true, withFileTypes: true }) : [];
  const sources = names.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return [
    ...sources.map((path): [string, ArchiveEntry] => [
      `/app/examples/${path.slice(folder.length + 1)}`,
      { type: 'copy', from: path },
    ]),
    ...[...(await compilePrograms(folder))].map(([name, contents]): [string, ArchiveEntry] => [
      `/app/examples/${name}`,
      { type: 'file', contents },
    ]),
  ];
}

async function appEntries(): Promise<Map<string, ArchiveEntry>> {
  const own = await packOwnPackage();
  const dependencies = await packDependencies(own.manifest);
  const wrapper = (name: string): ArchiveEntry => ({
    type: 'copy',
    from: inRepository('test/vm/guest', `${name}.sh`),
    mode: 0o755,
  });
  return new Map<string, ArchiveEntry>([
    ['/app/package.json', { type: 'file', contents: '{ "private": true, "type": "module" }\n' }],
    ...[own, ...dependencies].flatMap(packageEntries),
    ...commandEntries(own.manifest),
    ...(await exampleEntries()),
    ['/bin/tsx', wrapper('tsx')],
    ['/bin/npx', wrapper('npx')],
  ]);
}

/** The path of the archive; the package is built first where its sources are newer than what was built. */
export async function provideApp({ onProgress, signal }: Preparation): Promise<string> {
  onProgress('Building the package for the guest');
  const ensure = inRepository('test/tools/ensure.mjs');
  await capture('VM_BUILD_FAILED', process.execPath, [ensure, 'shim', 'build'], { signal });
  const sources = await Promise.all(SOURCES.map((path) => fingerprintTree(inRepository(path))));
  const make = async (path: string): Promise<void> => writeArchive(path, await appEntries());
  return cached(`app-${digest([LAYOUT_VERSION, ...sources.flat()])}.cpio`, make, signal);
}
