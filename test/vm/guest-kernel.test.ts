/** The kernel's way from the archive into the cache, with programs that play apt and dpkg. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { findProgram } from '../tools/programs.mjs';

/** "a module", as Debian compresses modules. */
const COMPRESSED = '/Td6WFoAAAFpIt42AgAhARAAAACocI6GAQAHYSBtb2R1bGUAW8E4CwABHAhEYCrIkEKZDQEAAAAAAVla';
const OLD = 'linux-image-6.1.0-1-cloud-amd64';
const NEW = 'linux-image-6.1.0-2-cloud-amd64';

let folder: string;

/** Puts a shell script of that name first on the PATH. */
function fake(name: string, script: string): void {
  const path = join(folder, 'bin', name);
  writeFileSync(path, `#!/bin/sh\ncd "${folder}"\n${script}\n`);
  chmodSync(path, 0o755);
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kernel-test-'));
  mkdirSync(join(folder, 'bin'));
  // The lists of this machine are older than the archive, which has a newer kernel in the place of the old one.
  fake('apt-cache', `[ -e updated ] && echo '  Depends: ${NEW}' || echo '  Depends: ${OLD}'`);
  fake(
    'apt-get',
    `case "$1 $3" in
      update*) touch updated ;;
      "download ${NEW}") touch "$OLDPWD/kernel.deb" ;;
      *) echo 'E: 404  Not Found' >&2; exit 100 ;;
    esac`,
  );
  fake(
    'dpkg',
    `cd "$3" && mkdir -p lib/modules/6.1.0-2 && echo '${COMPRESSED}' | base64 -d >lib/modules/6.1.0-2/tun.ko.xz`,
  );
  fake('depmod', '');
  vi.stubEnv('PATH', `${join(folder, 'bin')}:${process.env.PATH ?? ''}`);
  vi.resetModules();
  vi.doMock('./paths.js', () => ({ CACHE: join(folder, 'cache'), CACHE_LOCK: join(folder, 'lock') }));
});

afterEach(() => {
  vi.doUnmock('./paths.js');
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

async function provide(uid: number, signal?: AbortSignal): Promise<{ release: string; modules: string }> {
  vi.spyOn(process as Required<Pick<NodeJS.Process, 'getuid'>>, 'getuid').mockReturnValue(uid);
  const { provideKernel } = await import('./guest-kernel.js');
  return provideKernel({ onProgress: () => undefined, signal });
}

it.skipIf(findProgram('busybox') === undefined)(
  'takes what the archive has now where the package lists are old, and unpacks its modules',
  async () => {
    const { release, modules } = await provide(0);
    expect(release).toBe('6.1.0-2');
    expect(readFileSync(join(modules, 'tun.ko'), 'utf8')).toBe('a module');
    expect(existsSync(join(folder, 'cache', `kernel-${NEW}`))).toBe(true);
  },
);

it('tells a user who may not update the package lists what to do', async () => {
  await expect(provide(1000)).rejects.toMatchObject({
    code: 'VM_UNAVAILABLE',
    message: expect.stringMatching(/404 {2}Not Found[^]*sudo apt-get update/) as string,
  });
});

it('stops to wait for another process that fills the cache when it is told to', async () => {
  writeFileSync(join(folder, 'lock'), String(process.pid));
  const controller = new AbortController();
  const provided = provide(0, controller.signal);
  controller.abort();
  await expect(provided).rejects.toMatchObject({ name: 'AbortError' });
});
