/** The files that a user of the package gets: its own, and those of the packages that it depends on. */
import { existsSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ROOT } from './paths.js';
import { capture } from './subprocess.js';
import { VmError } from './vm-error.js';

/** The parts of a package.json that matter here. */
export interface PackageManifest {
  readonly name: string;
  readonly bin?: string | Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/** A package and its files, relative to its folder. */
export interface PackedPackage {
  readonly manifest: PackageManifest;
  readonly folder: string;
  readonly files: readonly string[];
}

export async function readManifest(folder: string): Promise<PackageManifest> {
  return JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as PackageManifest;
}

/** What `npm pack` would put into the package; npm is asked, so that its rules need no second form here. */
export async function packOwnPackage(): Promise<PackedPackage> {
  const args = ['pack', '--dry-run', '--json', '--ignore-scripts'];
  const answer = await capture('VM_BUILD_FAILED', 'npm', args, { cwd: ROOT });
  const packed = (JSON.parse(answer) as { files: { path: string }[] }[]).at(0);
  if (packed === undefined) throw new VmError('VM_BUILD_FAILED', 'npm pack named no package.');
  return {
    manifest: await readManifest(ROOT),
    folder: ROOT,
    files: packed.files.map((file) => file.path),
  };
}

/** Where Node finds a package from a folder: in its node_modules or in one above. */
function resolvePackage(name: string, from: string): string | undefined {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, 'node_modules', name);
    if (existsSync(join(candidate, 'package.json'))) return candidate;
    if (folder === dirname(folder)) return undefined;
  }
}

async function listFiles(folder: string, below = ''): Promise<string[]> {
  const entries = await readdir(join(folder, below), { withFileTypes: true });
  const lists = entries.map(async (entry) => {
    const path = join(below, entry.name);
    if (!entry.isDirectory()) return [path];
    return entry.name === 'node_modules' ? [] : listFiles(folder, path);
  });
  return (await Promise.all(lists)).flat();
}

function dependencyFolders(manifest: PackageManifest, from: string): string[] {
  const optional = Object.keys(manifest.optionalDependencies ?? {});
  const names = new Set([...Object.keys(manifest.dependencies ?? {}), ...optional]);
  return [...names].flatMap((name) => {
    const folder = resolvePackage(name, from);
    if (folder !== undefined) return [folder];
    if (optional.includes(name)) return [];
    throw new VmError('VM_BUILD_FAILED', `${manifest.name} needs ${name}, which is not installed.`);
  });
}

/** All packages that the manifest's package needs to run, as they are installed in the repository. */
export async function packDependencies(manifest: PackageManifest): Promise<PackedPackage[]> {
  const waiting = dependencyFolders(manifest, ROOT);
  const packages = new Map<string, PackedPackage>();
  for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
    if (packages.has(folder)) continue;
    const found = await readManifest(folder);
    packages.set(folder, { manifest: found, folder, files: await listFiles(folder) });
    waiting.push(...dependencyFolders(found, folder));
  }
  return [...packages.values()];
}
