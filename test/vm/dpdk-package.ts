/** DPDK: Debian's packages, downloaded and unpacked into the cache, never installed. */
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { cached } from './cache.js';
import type { Preparation } from './progress.js';
import { CACHE } from './paths.js';
import { capture } from './subprocess.js';
import { VmError } from './vm-error.js';

/** Has dpdk-testpmd, and depends on all of DPDK's libraries. */
const PACKAGE = 'dpdk-dev';
const ENTRY = 'dpdk-1';
/** Libraries of other packages that testpmd is linked with, so far as a bare system lacks them. */
const OTHER_PACKAGES =
  /^(librte-.*|libnuma1|libfdt1|libjansson4|libbsd0|libmd0|libelf1|libpcap0\.8.*|libdbus-1-3|libibverbs1|ibverbs-providers|libnl-3-200.*|libnl-route-3-200.*)$/;
/** Drivers that testpmd looks for in the installed system; loaded beforehand they need not lie there. */
const DRIVERS = /^librte_(net_vhost|net_virtio|mempool_ring)\.so\.\d+$/;
const LIBRARIES = 'usr/lib/x86_64-linux-gnu';

const LIMITS = [
  '--no-recommends',
  '--no-suggests',
  '--no-conflicts',
  '--no-breaks',
  '--no-replaces',
  '--no-enhances',
];

async function findPackages(signal?: AbortSignal): Promise<string[]> {
  const args = ['depends', '--recurse', ...LIMITS, PACKAGE];
  let answer = await capture('VM_UNAVAILABLE', 'apt-cache', args).catch(() => '');
  if (answer === '' && process.getuid?.() === 0) {
    await capture('VM_UNAVAILABLE', 'apt-get', ['update', '-qq'], { signal });
    answer = await capture('VM_UNAVAILABLE', 'apt-cache', args);
  }
  const names = answer.split('\n').filter((name) => OTHER_PACKAGES.test(name));
  if (names.length > 0) return [PACKAGE, ...new Set(names)];
  throw new VmError('VM_UNAVAILABLE', `apt does not know the package ${PACKAGE}. Run: sudo apt-get update`);
}

async function unpack(folder: string, signal?: AbortSignal): Promise<void> {
  await mkdir(folder);
  const options = { cwd: folder, signal };
  await capture('VM_UNAVAILABLE', 'apt-get', ['download', '-qq', ...(await findPackages(signal))], options);
  for (const file of (await readdir(folder)).filter((name) => name.endsWith('.deb'))) {
    await capture('VM_UNAVAILABLE', 'dpkg', ['-x', join(folder, file), folder], { signal });
    await rm(join(folder, file));
  }
}

/** The folder in which DPDK is unpacked; the first call on a machine downloads it (23 MB). */
export async function provideDpdk({ onProgress, signal }: Preparation): Promise<string> {
  return cached(
    ENTRY,
    (folder) => {
      onProgress('Downloading DPDK');
      return unpack(folder, signal);
    },
    signal,
  );
}

/** The version of the DPDK that was downloaded, as Debian numbers it; undefined if there is none yet. */
export function findDpdkVersion(): string | undefined {
  const changes = join(CACHE, ENTRY, 'usr/share/doc', PACKAGE, 'changelog.Debian.gz');
  try {
    const [first] = gunzipSync(readFileSync(changes)).toString('utf8').split('\n');
    return /^dpdk \(([^)]+)\)/.exec(first)?.[1];
  } catch {
    return undefined;
  }
}

/** They lie in a folder whose name, as theirs, has a version in it. */
function findDrivers(folder: string): { folder: string; names: string[] } {
  const all = join(folder, LIBRARIES, 'dpdk');
  const [version] = readdirSync(all);
  const names = readdirSync(join(all, version)).filter((name) => DRIVERS.test(name));
  return { folder: join(all, version), names };
}

export interface DpdkProgram {
  readonly path: string;
  /** Variables that it needs beside those of its surroundings. */
  readonly environment: Readonly<Record<string, string>>;
}

/** dpdk-testpmd in that folder. */
export function dpdkProgram(folder: string): DpdkProgram {
  const drivers = findDrivers(folder);
  const libraries = [join(folder, LIBRARIES), drivers.folder, join(folder, 'lib/x86_64-linux-gnu')];
  const environment = { LD_LIBRARY_PATH: libraries.join(':'), LD_PRELOAD: drivers.names.join(' ') };
  return { path: join(folder, 'usr/bin/dpdk-testpmd'), environment };
}
