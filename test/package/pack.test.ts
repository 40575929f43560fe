/** The package as users get it: what is in it, and that it works in both module formats once it is installed. */
import { cp, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SHIM_ABI } from '../../src/native/shim.js';
import { inRepository } from '../vm/paths.js';
import { installTarball, listTarball, packPackage } from './packing.js';
import { codeBlocks, readReadme, type CodeBlock } from './readme.js';
import { run, runNode } from './run.js';
import { writeProgram } from './snippets.js';
import { removeFolder, temporaryFolder } from './working-copy.js';

/** Building, packing and installing: npm may have to wait for its registry. */
const LONG = 600_000;
const FIXTURES = fileURLToPath(new URL('./fixtures', import.meta.url));

let folder: string;
let project: string;
let files: string[];

beforeAll(async () => {
  folder = await temporaryFolder();
  project = join(folder, 'project');
  const tarball = await packPackage(folder);
  files = await listTarball(tarball);
  await installTarball(tarball, project);
  await cp(FIXTURES, project, { recursive: true });
}, LONG);

afterAll(() => removeFolder(folder));

const installed = (path: string): string => join(project, 'node_modules', 'virtio-net', path);

async function readPackageJson(): Promise<Record<string, unknown>> {
  return JSON.parse(await readFile(installed('package.json'), 'utf8')) as Record<string, unknown>;
}

function quickStarts(): CodeBlock[] {
  return codeBlocks(readReadme()).filter(
    (block) => block.heading === 'As a dependency' && block.prints !== undefined,
  );
}

describe('the tarball', () => {
  /** What a user needs, and nothing else. */
  const ALLOWED = [
    /^(package\.json|README\.md|LICENSE)$/,
    /^dist\/[\w-]+\.(js|cjs|d\.ts|d\.cts)$/,
    /^native-shim\/([\w-]+\.(c|h|map)|build\.mjs)$/,
    /^native-shim\/prebuilt\/linux-(x64|arm64)\/virtio-net-shim\.so$/,
    /^examples\/([\w-]+\/)?[\w-]+\.ts$/,
  ];

  it('holds what a user needs and nothing else', () => {
    expect(files.filter((path) => !ALLOWED.some((pattern) => pattern.test(path)))).toEqual([]);
    for (const pattern of ALLOWED) expect(files.filter((path) => pattern.test(path))).not.toEqual([]);
    expect(files).toEqual(expect.arrayContaining(['README.md', 'LICENSE', 'examples/ping.ts']));
  });

  it('holds every file that package.json leads to', async () => {
    const { exports, main, module, types, typesVersions, bin = {} } = await readPackageJson();
    const all = JSON.stringify([exports, main, module, types, typesVersions, bin]);
    // Names of entry points have no extension.
    const paths = Array.from(all.matchAll(/"\.\/([^"]+\.\w+)"/g), ([, path]) => path);
    expect(paths.length).toBeGreaterThan(12);
    expect(paths.filter((path) => !files.includes(path))).toEqual([]);
  });

  it.each([
    ['x64', 0x3e],
    ['arm64', 0xb7],
  ])('has the native shim for %s', async (arch, machine) => {
    const elf = await readFile(installed(`native-shim/prebuilt/linux-${arch}/virtio-net-shim.so`));
    expect(elf.subarray(0, 4)).toEqual(Buffer.from('\x7fELF'));
    expect(elf.readUInt16LE(18)).toBe(machine);
  });
});

describe('package.json', () => {
  it('depends on koffi and pino alone', async () => {
    const { dependencies, optionalDependencies, peerDependencies } = await readPackageJson();
    expect(Object.keys(dependencies as object).sort()).toEqual(['koffi', 'pino']);
    expect([optionalDependencies, peerDependencies]).toEqual([undefined, undefined]);
  });

  it('runs nothing when it is installed', async () => {
    const { scripts } = await readPackageJson();
    const atInstall = ['preinstall', 'install', 'postinstall', 'prepublish', 'prepare', 'preprepare'];
    expect(Object.keys(scripts as object).filter((name) => atInstall.includes(name))).toEqual([]);
  });
});

describe('the installed package', () => {
  it(
    'runs the quick starts of the README as they stand, with import and with require',
    async () => {
      const blocks = quickStarts();
      expect(blocks.map(({ code }) => code.includes('require('))).toEqual([false, true]);
      for (const block of blocks) {
        const path = await writeProgram(block, project);
        expect(await runNode(path, { cwd: project })).toEqual({
          status: 0,
          stdout: block.prints,
          stderr: '',
        });
      }
    },
    LONG,
  );

  it.each(['mjs', 'cjs'])('has each class once, whichever entry point it comes from: %s', async (format) => {
    const { status, stdout, stderr } = await runNode(join(project, `same-classes.${format}`), {
      cwd: project,
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toBe('OPTION_INVALID true true\nADDRESS_MALFORMED true true\n');
  });

  it('prints nothing by itself, not even a warning', async () => {
    const load = "for (const name of ['', '/sim', '/packet']) require(`virtio-net${name}`)";
    const result = await run(process.execPath, ['--trace-warnings', '-e', load], { cwd: project });
    expect(result).toEqual({ status: 0, stdout: '', stderr: '' });
  });

  it('brings a shim that its koffi loads', async () => {
    const result = await runNode(join(project, 'native.cjs'), { cwd: project });
    expect(result).toEqual({ status: 0, stdout: `${SHIM_ABI}\n`, stderr: '' });
  });

  it.each(['mjs', 'cjs'])('logs with its pino, to standard error: %s', async (format) => {
    const env = { ...process.env, VIRTIO_NET_LOG: 'info' };
    const { status, stdout, stderr } = await runNode(join(project, `logging.${format}`), {
      cwd: project,
      env,
    });
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
    const lines = stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines).toEqual([
      expect.objectContaining({ device: 'the card', msg: 'device opened' }),
      expect.objectContaining({ device: 'the card', msg: 'device closed' }),
    ]);
  });

  it(
    'has types that resolve for import and for require',
    async () => {
      const compiler = inRepository('node_modules/typescript/bin/tsc');
      const options = ['--noEmit', '--strict', '--target', 'es2022', '--module', 'nodenext'];
      const types = ['--typeRoots', inRepository('node_modules/@types'), '--types', 'node'];
      const programs = ['consumer.mts', 'consumer.cts'];
      const args = [compiler, '--listFiles', ...options, ...types, ...programs];
      const { status, stdout, stderr } = await run(process.execPath, args, { cwd: project });
      expect({ status, stderr }, stdout).toEqual({ status: 0, stderr: '' });
      const read = Array.from(stdout.matchAll(/virtio-net\/dist\/((?:index|sim|packet)\.d\.c?ts)$/gm));
      expect(read.map(([, name]) => name).sort()).toEqual(
        ['index', 'packet', 'sim'].flatMap((name) => [`${name}.d.cts`, `${name}.d.ts`]),
      );
    },
    LONG,
  );

  it('brings an example that runs with tsx', async () => {
    const tsx = inRepository('node_modules/tsx/dist/cli.mjs');
    const args = [tsx, 'node_modules/virtio-net/examples/ping.ts', 'sim', '10.0.2.2', '--count', '1'];
    const { status, stdout, stderr } = await run(process.execPath, args, { cwd: project });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain('1 packets transmitted, 1 received, 0% packet loss');
  });
});
