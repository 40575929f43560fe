/** Where the shim's file is. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { NativeError } from '../errors.js';
import { ownFile } from './own-file.js';

/** The environment variable that names another file than the packaged one. */
export const SHIM_VARIABLE = 'VIRTIO_NET_SHIM';
const PACKAGE_NAME = 'virtio-net';

/** What decides where the shim is; tests give their own. */
export interface ShimLookup {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** A file inside the package, or the bundle that the package went into. */
  readonly from: string;
  readonly arch: string;
}

/** Looks where this program's own code is. */
const here = (): ShimLookup => ({ env: process.env, from: ownFile(), arch: process.arch });

/**
 * The path of the shim: what `VIRTIO_NET_SHIM` says, else the file inside the package, which is found from a
 * bundle too as long as it is installed beside it.
 *
 * @throws NativeError NATIVE_SHIM_MISSING
 */
export function findShim(lookup: ShimLookup = here()): string {
  const named = lookup.env[SHIM_VARIABLE];
  if (named !== undefined && named !== '') return requireNamed(named);
  const root = findPackageRoot(dirname(lookup.from));
  if (root === undefined) {
    throw new NativeError(
      'NATIVE_SHIM_MISSING',
      `No folder above ${lookup.from} is the package ${PACKAGE_NAME}, nor has it installed`,
      {
        remedy: `A bundler has moved the code: install ${PACKAGE_NAME} beside the bundle, or set ${SHIM_VARIABLE}.`,
      },
    );
  }
  const path = join(root, 'native-shim', 'prebuilt', `linux-${lookup.arch}`, 'virtio-net-shim.so');
  if (existsSync(path)) return path;
  throw new NativeError('NATIVE_SHIM_MISSING', `The native shim is not at ${path}`, {
    remedy: `Build it with: node ${join(root, 'native-shim', 'build.mjs')}`,
  });
}

function requireNamed(path: string): string {
  if (existsSync(path)) return path;
  throw new NativeError('NATIVE_SHIM_MISSING', `${SHIM_VARIABLE} names ${path}, which does not exist`, {
    remedy: `Correct ${SHIM_VARIABLE}, or unset it to use the shim of the package.`,
  });
}

/**
 * The code may lie in src/native, in dist, or anywhere that a package manager links to, so walk up by name; that
 * of a bundle lies where the package may be installed.
 */
function findPackageRoot(start: string): string | undefined {
  for (let folder = start; ; folder = dirname(folder)) {
    const candidates = [folder, join(folder, 'node_modules', PACKAGE_NAME)];
    const found = candidates.find((path) => packageName(join(path, 'package.json')) === PACKAGE_NAME);
    if (found !== undefined) return found;
    if (folder === dirname(folder)) return undefined;
  }
}

function packageName(path: string): unknown {
  if (!existsSync(path)) return undefined;
  try {
    const content: unknown = JSON.parse(readFileSync(path, 'utf8'));
    return typeof content === 'object' && content !== null && 'name' in content ? content.name : undefined;
  } catch {
    // Someone else's broken package.json on the way up is not the file that is looked for.
    return undefined;
  }
}
