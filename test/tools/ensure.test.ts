/** The set-up of a bare machine, in a tree of its own and with programs that play npm. */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { inRepository } from '../vm/paths.js';

const PACKAGES = { '': {}, 'node_modules/tool': { version: '1.0.0', integrity: 'sha512-x', dev: true } };

let folder: string;
let programs: string;

function fake(name: string, script: string): void {
  const path = join(programs, name);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
}

/** Runs it with these programs and a shell on the PATH, and nothing else. */
function ensure(things: readonly string[], env: NodeJS.ProcessEnv = {}): { status: number; said: string } {
  const { status, stderr } = spawnSync(process.execPath, [join(folder, 'test/tools/ensure.mjs'), ...things], {
    encoding: 'utf8',
    env: { PATH: programs, ...env },
  });
  return { status: status ?? -1, said: stderr };
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ensure-test-'));
  programs = join(folder, 'programs');
  mkdirSync(programs);
  cpSync(inRepository('test/tools'), join(folder, 'test/tools'), { recursive: true });
  cpSync(inRepository('native-shim/build.mjs'), join(folder, 'native-shim/build.mjs'));
  writeFileSync(join(folder, 'package-lock.json'), JSON.stringify({ packages: PACKAGES }));
  writeFileSync(join(folder, 'lock'), JSON.stringify({ packages: PACKAGES }));
  // The least that npm ci leaves.
  fake(
    'npm',
    'echo "$@" >asked; /bin/mkdir -p node_modules/tool; /bin/cp lock node_modules/.package-lock.json',
  );
});

afterEach(() => rmSync(folder, { recursive: true }));

describe('the dependencies', () => {
  it('are installed once, with what NODE_ENV=production leaves out', () => {
    const production = { NODE_ENV: 'production' };
    expect(ensure(['deps'], production)).toEqual({
      status: 0,
      said: 'Installing the dependencies (npm ci) ...\n',
    });
    expect(readFileSync(join(folder, 'asked'), 'utf8')).toMatch(/^ci .*--include=dev --include=optional/);
    expect(ensure(['deps'])).toEqual({ status: 0, said: '' });
  });

  it('are installed anew where an installation was broken off', () => {
    mkdirSync(join(folder, 'node_modules'));
    writeFileSync(join(folder, 'node_modules/.package-lock.json'), '{ "packages": {');
    expect(ensure(['deps']).status).toBe(0);
    expect(ensure(['deps'])).toEqual({ status: 0, said: '' });
  });

  it('are installed by npm, whatever package manager was called', () => {
    expect(ensure(['deps'], { npm_execpath: '/usr/share/yarn/bin/yarn.js' }).status).toBe(0);
  });
});

describe('what is built', () => {
  it('is built again where a source was saved meanwhile', () => {
    const source = join(folder, 'native-shim/one.c');
    writeFileSync(source, '');
    fake(
      'gcc',
      `for word in "$@"; do [ "$last" = -o ] && /bin/touch -d '1 minute ago' "$word"; last=$word; done
      [ -e once ] && /bin/touch -d '2 minutes ago' native-shim/*.* native-shim; /bin/touch once`,
    );
    const { status, said } = ensure(['shim']);
    expect(status, said).toBe(0);
    expect(said.match(/Building the native shim/g)).toHaveLength(2);
  });
});

describe('what is missing', () => {
  it('is named with its packages: the compiler that builds the shim, not just any', () => {
    fake('clang', 'exit 1');
    expect(ensure(['shim'])).toEqual({
      status: 1,
      said: 'The native shim needs a C compiler. Install what Debian calls gcc, libc6-dev with the package manager of this system.\n',
    });
  });

  it('is named where it is the one that CC names', () => {
    fake('gcc', 'exit 1');
    expect(ensure(['shim'], { CC: 'other-gcc -m64' })).toEqual({
      status: 1,
      said: 'There is no other-gcc, which CC names as the C compiler.\n',
    });
  });

  it('is installed by root, with package lists of today', () => {
    fake('apt-get', `echo "apt-get $@" >&2; [ "$1" = update ] || /bin/cp "$0" "${programs}/git"`);
    const { status, said } = ensure(['git']);
    const root = process.getuid?.() === 0;
    expect(status, said).toBe(root ? 0 : 1);
    expect(said).toMatch(
      root
        ? /apt-get update[^]*apt-get install .* git\n/
        : 'Tests of the package need git. Run as root: apt-get update && apt-get install -y git\n',
    );
  });
});
