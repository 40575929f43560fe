/**
 * DPDK's vhost backend on this machine: dpdk-testpmd, whose process ends with the test. It sends every frame back that it
 * gets, byte by byte, by the queue that it came in, unless another mode is asked for.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { dpdkProgram, provideDpdk } from '../vm/dpdk-package.js';

export interface TestpmdOptions {
  /** Path of the socket. */
  readonly path: string;
  readonly queues?: number;
  /** It connects, and the driver listens. */
  readonly client?: boolean;
  readonly forward?: 'io' | 'txonly' | 'rxonly' | 'macswap';
  /** Arguments of the vhost device beside these. */
  readonly device?: string;
  readonly processors?: string;
  /** Its arguments in place of those that all of these amount to; the path is that of the socket in them. */
  readonly words?: readonly string[];
}

const START_MS = 20_000;
const LOOK_EVERY_MS = 20;

/** The file is there a moment before anybody listens, which one of the flags says in the table of all sockets. */
function isListenedAt(path: string): boolean {
  return readFileSync('/proc/net/unix', 'utf8')
    .split('\n')
    .some((line) => line.includes(' 00010000 ') && line.endsWith(` ${path}`));
}

function argumentsOf(options: TestpmdOptions): string[] {
  const {
    path,
    queues = 1,
    client = false,
    forward = 'io',
    device = '',
    processors = '(0,1)@(0,1)',
  } = options;
  const extra = `${client ? ',client=1' : ''}${device === '' ? '' : `,${device}`}`;
  return [
    ...['--lcores', processors, '--no-pci', '--no-huge', '-m', '256', '--iova-mode=va', '--no-shconf'],
    ...['--no-telemetry', '--vdev', `net_vhost0,iface=${path},queues=${queues}${extra}`, '--'],
    ...[`--forward-mode=${forward}`, '--port-topology=loop', '--auto-start', '--nb-cores=1'],
    ...[`--rxq=${queues}`, `--txq=${queues}`, '--total-num-mbufs=16384', '--max-pkt-len=9100'],
    ...['--mbuf-size=10240', '--no-flush-rx', '--stats-period=1'],
  ];
}

export class Testpmd {
  private readonly child: ChildProcess;
  private output = '';

  private constructor(child: ChildProcess) {
    this.child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (bytes: Buffer) => (this.output += bytes.toString()));
    }
  }

  /** Starts it, and waits until its socket is there, or, where it connects, until it runs. */
  static async start(options: TestpmdOptions): Promise<Testpmd> {
    const { environment, path } = dpdkProgram(await provideDpdk({ onProgress: () => undefined }));
    const words = ['--pdeathsig', 'KILL', '--', path, ...(options.words ?? argumentsOf(options))];
    const env = { ...process.env, ...environment };
    const testpmd = new Testpmd(spawn('setpriv', words, { env, stdio: ['pipe', 'pipe', 'pipe'] }));
    const isUp = (): boolean =>
      options.client === true ? testpmd.output.includes('Port statistics') : isListenedAt(options.path);
    await testpmd.waitUntil(isUp);
    return testpmd;
  }

  /** All that it has said. */
  get said(): string {
    return this.output;
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  /** How many frames it has sent back in all, by its own statistics of each second. */
  get forwarded(): number {
    const counts = [...this.output.matchAll(/TX-packets:\s*(\d+)/g)];
    return Number(counts.at(-1)?.[1] ?? 0);
  }

  /** Stops it where it is: it does nothing until it is killed. */
  freeze(): void {
    this.child.kill('SIGSTOP');
  }

  /** Ends it at once, as a crash does. */
  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  private async waitUntil(isUp: () => boolean): Promise<void> {
    const deadline = performance.now() + START_MS;
    while (!isUp()) {
      if (this.child.exitCode !== null || performance.now() > deadline) {
        await this.kill();
        throw new Error(`testpmd did not start:\n${this.output}`);
      }
      await sleep(LOOK_EVERY_MS);
    }
  }
}
