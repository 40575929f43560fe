/** The package as a user gets it: packed by npm, and installed into an empty project. */
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runWell } from './run.js';
import { copyWorkingTree } from './working-copy.js';

/** Packs a copy of the working tree, with all that has to be built for it; returns the path of the tarball. */
export async function packPackage(folder: string): Promise<string> {
  const copy = join(folder, 'tree');
  const packed = join(folder, 'packed');
  await mkdir(copy);
  await mkdir(packed);
  await copyWorkingTree(copy);
  await runWell('npm', ['pack', '--pack-destination', packed], { cwd: copy });
  const [tarball] = await readdir(packed);
  return join(packed, tarball);
}

/** The files in a tarball, by their path in the package. */
export async function listTarball(tarball: string): Promise<string[]> {
  const { stdout } = await runWell('tar', ['-tzf', tarball], { cwd: '/' });
  const paths = stdout.split('\n').filter((path) => path !== '' && !path.endsWith('/'));
  return paths.map((path) => path.replace(/^package\//, '')).sort();
}

/** Makes an empty project and installs the tarball into it, with its dependencies from the registry. */
export async function installTarball(tarball: string, project: string): Promise<void> {
  await mkdir(project);
  await writeFile(join(project, 'package.json'), '{ "name": "user", "private": true }\n');
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-save'];
  await runWell('npm', ['install', ...options, tarball], { cwd: project });
}
