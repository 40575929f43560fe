/** DPDK's vhost backend: dpdk-testpmd behind cards of the guest, instead of QEMU's own code. */
import { availableParallelism } from 'node:os';
import { dpdkProgram } from './dpdk-package.js';
import { quoteWords } from './shell.js';

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

/** Lines of a shell that start testpmd, to end with the shell's process, and wait until it has made its sockets. */
export function dpdkLines(folder: string, sockets: readonly VhostSocket[], closing: string): string[] {
  const testpmd = dpdkProgram(folder);
  const environment = Object.entries(testpmd.environment).map(([name, value]) => `${name}=${value}`);
  const program = [testpmd.path, ...testpmdArguments(sockets)];
  const words = ['setpriv', '--pdeathsig', 'KILL', '--', 'env', ...environment, ...program];
  return [
    `${quoteWords(words)} >/dev/null ${closing} <<'END' &`,
    ...COMMANDS,
    'END',
    'testpmd=$!',
    ...sockets.map(({ path }) => `until [ -S ${path} ]; do kill -0 $testpmd || exit 1; sleep 0.05; done`),
  ];
}
