import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { SHIM_FILE, SHIM_FOLDER, buildShim } from './build-shim.js';

beforeAll(buildShim);

function build(args: string[], env: Record<string, string> = {}): { status: number | null; stderr: string } {
  return spawnSync(process.execPath, [`${SHIM_FOLDER}build.mjs`, ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
}

describe('the build of the shim', () => {
  it('says in one sentence how to install a compiler that is missing', () => {
    const { status, stderr } = build([], { CC: 'no-such-compiler' });
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /^No C compiler for \w+: no-such-compiler was not found; .*: apt-get install gcc .*\n$/,
    );
  });

  it('fails with the compiler, leaves the old library and no draft', () => {
    expect(build([], { CC: 'false' }).status).toBe(1);
    expect(existsSync(SHIM_FILE)).toBe(true);
    expect(readdirSync(dirname(SHIM_FILE))).toEqual(['virtio-net-shim.so']);
  });

  it('refuses an option that it does not know', () => {
    expect(build(['--everything'])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('--everything') as string,
    });
  });

  it('needs no symbol that only one libc has, and exports nothing but its interface', () => {
    const lines = execFileSync('nm', ['-D', SHIM_FILE], { encoding: 'utf8' }).trim().split('\n');
    const symbols = lines.map((line) => line.trim().split(/\s+/).slice(-2) as [string, string]);
    const named = (kind: string): string[] => symbols.filter(([k]) => k === kind).map(([, name]) => name);
    expect(new Set(symbols.map(([kind]) => kind))).toEqual(new Set(['T', 'U', 'w']));
    expect(named('T').every((name) => name.startsWith('vn_'))).toBe(true);
    expect(named('w').every((name) => /^(napi|uv)_/.test(name))).toBe(true);
    // Plain names: a version (name@GLIBC_2.34) or a fortified one (__read_chk) would not load under musl.
    const plain =
      /^(__errno_location|accept4|bind|calloc|close|connect|eventfd|fallocate|fchmod|fcntl|free|ftruncate|getpagesize|ioctl|listen|madvise|mem(cpy|set)|mlock|m(un)?map|poll|p?(read|write)|recvmsg|sendmsg|socket|syscall|unlink)$/;
    expect(named('U').filter((name) => !plain.test(name))).toEqual([]);
  });
});
