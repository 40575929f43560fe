/** TypeScript, compiled for the guest's Node. */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import { inRepository } from './paths.js';
import { VmError } from './vm-error.js';

const COMMON = { format: 'esm', platform: 'node', target: 'node20.19', logLevel: 'silent' } as const;

/** Packages that stay imports: they are installed in the guest. */
const INSTALLED = ['virtio-net', 'virtio-net/*', 'koffi', 'pino'];

async function compile(options: Parameters<typeof build>[0]): Promise<Map<string, Uint8Array>> {
  // The names of what esbuild would write tell the results apart; nothing is written.
  const result = await build({ ...options, ...COMMON, write: false }).catch((error: unknown) => {
    const what = error instanceof Error ? error.message : String(error);
    throw new VmError('VM_BUILD_FAILED', `A program for the guest does not compile: ${what}`, error);
  });
  return new Map(result.outputFiles.map((file) => [file.path, file.contents]));
}

/** The programs of a folder, each compiled for itself: paths relative to the folder, ending in `.js`. */
export async function compilePrograms(folder: string): Promise<Map<string, Uint8Array>> {
  const names = existsSync(folder) ? await readdir(folder, { recursive: true }) : [];
  const sources = names.filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'));
  if (sources.length === 0) return new Map();
  const outputs = await compile({
    entryPoints: sources.map((name) => join(folder, name)),
    outbase: folder,
    outdir: folder,
    bundle: false,
  });
  return new Map([...outputs].map(([path, contents]) => [path.slice(folder.length + 1), contents]));
}

/**
 * Compiles a program of this repository, with all that it imports by relative paths, into one file for the
 * `files` of `runVm`. Packages that the guest has (virtio-net, koffi, pino) stay imports.
 *
 * @param source - path relative to the repository's folder, for example `test/vm/guest/receive.ts`
 * @throws VmError VM_BUILD_FAILED
 */
export async function bundleProgram(source: string): Promise<string> {
  const outputs = await compile({
    entryPoints: [inRepository(source)],
    outfile: inRepository('bundle.js'),
    bundle: true,
    external: INSTALLED,
    // By default esbuild follows the paths of tsconfig.json, which lead to the sources of virtio-net.
    tsconfigRaw: '{}',
  });
  const [contents] = outputs.values();
  return new TextDecoder().decode(contents);
}
