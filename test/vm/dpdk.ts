/**
 * DPDK's vhost backend: dpdk-testpmd behind cards of the guest, instead of QEMU's own code. Debian's packages,
 * downloaded and unpacked into the cache, never installed.
 */
import { readdirSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { cached } from './cache.js';
import type { Preparation } from './progress.js';
import { quoteWords } from './shell.js';
import { capture } from './subprocess.js';
import { VmError } from './vm-error.js';

/** Has dpdk-testpmd, and depends on all of DPDK's libraries. */
const PACKAGE = 'dpdk-dev';
const ENTRY = 'dpdk-1';
/** Libraries of other packages that testpmd is linked with, so far as a bare system lacks them. */
const OTHER_PACKAGES =
  /^(librte-.*|libnuma1|libfdt1|libjansson4|libbsd0|libmd0|libelf1|libpcap0\.8.*|libdbus-1-3|libibverbs1|ibverbs-providers|libnl-3-200.*|libnl-route-3-200.*)$/;
/** Drivers that testpmd looks for in the installed system; loaded beforehand they need not lie there. */
const DRIVERS = /^librte_(net_vhost|mempool_ring)\.so\.\d+$/;
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

/** A vhost-user socket, and how many queue pairs it has. */
export interface VhostSocket {
  readonly path: string;
  readonly queues: number;
}

/**
 * Behind a vIOMMU the backend asks QEMU for each page that it does not know yet, and takes no frame for a buffer there
 * until it has the answer: without another try, which no argument asks for, such a frame is lost. Delay in microseconds.
 */
const COMMANDS = ['set fwd icmpecho retry', 'set burst tx delay 1000 retry 250'];

function testpmdArguments(sockets: readonly VhostSocket[]): string[] {
  const devices = sockets.flatMap(({ path, queues }, index) => [
    '--vdev',
    `net_vhost${index},iface=${path},queues=${queues},iommu-support=1`,
  ]);
  const processors = `(0,1)@(0-${availableParallelism() - 1})`;
  const most = Math.max(...sockets.map(({ queues }) => queues));
  return [
    ...['--lcores', processors, '--no-pci', '--no-huge', '-m', '256', '--iova-mode=va'],
    ...['--no-shconf', '--no-telemetry', '--log-level=lib.vhost*:error', ...devices, '--'],
    // Answers ARP and echo requests for every address, through the port that they came in.
    ...['--forward-mode=icmpecho', '--port-topology=loop', '--auto-start', '--nb-cores=1'],
    ...[
      `--rxq=${most}`,
      `--txq=${most}`,
      '--total-num-mbufs=16384',
      '--max-pkt-len=9100',
      '--mbuf-size=10240',
    ],
    // Without anything to do from time to time it ends when its standard input does.
    ...['--stats-period=1', '--cmdline-file=/dev/stdin'],
  ];
}

/** They lie in a folder whose name, as theirs, has a version in it. */
function findDrivers(folder: string): { folder: string; names: string[] } {
  const all = join(folder, LIBRARIES, 'dpdk');
  const [version] = readdirSync(all);
  const names = readdirSync(join(all, version)).filter((name) => DRIVERS.test(name));
  return { folder: join(all, version), names };
}

/** The environment in which the unpacked testpmd finds its libraries and drivers, and the program. */
export function dpdkProgram(folder: string): {
  readonly environment: Record<string, string>;
  readonly path: string;
} {
  const drivers = findDrivers(folder);
  const libraries = [join(folder, LIBRARIES), drivers.folder, join(folder, 'lib/x86_64-linux-gnu')];
  return {
    environment: { LD_LIBRARY_PATH: libraries.join(':'), LD_PRELOAD: drivers.names.join(' ') },
    path: join(folder, 'usr/bin/dpdk-testpmd'),
  };
}

/** Lines of a shell that start testpmd, to end with the shell's process, and wait until it has made its sockets. */
export function dpdkLines(folder: string, sockets: readonly VhostSocket[], closing: string): string[] {
  const { environment: variables, path: testpmd } = dpdkProgram(folder);
  const environment = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
  const program = [testpmd, ...testpmdArguments(sockets)];
  const words = ['setpriv', '--pdeathsig', 'KILL', '--', 'env', ...environment, ...program];
  return [
    `${quoteWords(words)} >/dev/null ${closing} <<'END' &`,
    ...COMMANDS,
    'END',
    'testpmd=$!',
    ...sockets.map(({ path }) => `until [ -S ${path} ]; do kill -0 $testpmd || exit 1; sleep 0.05; done`),
  ];
}
