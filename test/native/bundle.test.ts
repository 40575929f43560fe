import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { pageSize } from '../../src/native/mapped-memory.js';
import { buildShim, SHIM_FILE } from './build-shim.js';

const PROGRAM = fileURLToPath(new URL('fixtures/load-shim.ts', import.meta.url));
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** Runs the file that the argument names; what it requires runs outside, as native modules do. */
const IN_ANOTHER_CONTEXT = `
  const [, path] = process.argv;
  const globals = { require: require('node:module').createRequire(path), process, console, module: {} };
  require('node:vm').runInNewContext(require('node:fs').readFileSync(path, 'utf8'), globals);
`;
let folder: string;

beforeEach(() => {
  buildShim();
  folder = mkdtempSync(join(tmpdir(), 'bundle-'));
  mkdirSync(join(folder, 'node_modules'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function install(name: string, from: string): void {
  symlinkSync(from, join(folder, 'node_modules', name));
}

/** Bundles a program that prints the page size, or the code of an error, into one file, and runs that. */
async function runBundle(format: 'cjs' | 'esm', env: Record<string, string> = {}): Promise<string> {
  const outfile = join(folder, format === 'cjs' ? 'bundle.cjs' : 'bundle.mjs');
  await build({
    entryPoints: [PROGRAM],
    outfile,
    bundle: true,
    platform: 'node',
    format,
    logLevel: 'silent',
  });
  const { stdout, stderr } = spawnSync(process.execPath, [outfile], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  return `${stdout}${stderr}`;
}

describe.each(['cjs', 'esm'] as const)('a bundle in one file, %s', (format) => {
  it('finds the shim in the package that is installed beside it', async () => {
    install('koffi', join(ROOT, 'node_modules/koffi'));
    install('virtio-net', ROOT);
    expect(await runBundle(format)).toBe(`${pageSize()}\n`);
  });

  it('takes the shim that the environment names', async () => {
    install('koffi', join(ROOT, 'node_modules/koffi'));
    expect(await runBundle(format)).toBe('NATIVE_SHIM_MISSING\n');
    expect(await runBundle(format, { VIRTIO_NET_SHIM: SHIM_FILE })).toBe(`${pageSize()}\n`);
  });

  it('says so where koffi is not installed beside it', async () => {
    expect(await runBundle(format)).toBe('NATIVE_CALL_FAILED\n');
  });
});

it('works in a context with a global object of its own, as Jest runs tests', async () => {
  install('koffi', join(ROOT, 'node_modules/koffi'));
  const outfile = join(folder, 'bundle.cjs');
  const entry = fileURLToPath(new URL('fixtures/use-shim.ts', import.meta.url));
  await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    logLevel: 'silent',
  });
  const { stdout, stderr } = spawnSync(process.execPath, ['-e', IN_ANOTHER_CONTEXT, outfile], {
    encoding: 'utf8',
    env: { ...process.env, VIRTIO_NET_SHIM: SHIM_FILE },
  });
  expect({ stdout, stderr }).toEqual({ stdout: 'woken, length 0\n', stderr: '' });
});
