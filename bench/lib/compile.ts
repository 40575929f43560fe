/**
 * The programs of the benchmark as plain JavaScript beside the built package: what is measured is what users get, run by
 * Node.js without a loader in between.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { inRepository } from '../../test/vm/paths.js';
import { BenchError } from '../bench-error.js';

const SOURCES = inRepository('bench', 'programs');
/** Within the package, so that its own name leads to what was built. */
const COMPILED = inRepository('.cache', 'bench');

/** Builds the package and the native shim where they are older than their sources. */
function ensureBuilt(): void {
  const words = [inRepository('test/tools/ensure.mjs'), 'shim', 'build'];
  const { status } = spawnSync(process.execPath, words, { stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) throw new BenchError('The package could not be built.');
}

/** @throws BenchError if something can not be built */
export async function compilePrograms(): Promise<void> {
  ensureBuilt();
  const names = readdirSync(SOURCES).filter((name) => name.endsWith('.ts'));
  await build({
    entryPoints: names.map((name) => join(SOURCES, name)),
    outdir: COMPILED,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    // The package is taken as it is built, not from its sources, whatever tsconfig.json says for the type checker.
    packages: 'external',
    tsconfigRaw: {},
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    logLevel: 'silent',
  }).catch((error: unknown) => {
    throw new BenchError(`The programs of the benchmark could not be compiled: ${String(error)}`, error);
  });
}

/** Where the compiled form of `bench/programs/NAME.ts` lies. */
export const compiledProgram = (name: string): string => join(COMPILED, `${name}.mjs`);
