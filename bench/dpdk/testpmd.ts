/** dpdk-testpmd, spoken to by the commands of its prompt. */
import { dpdkProgram, provideDpdk } from '../../test/vm/dpdk-package.js';
import { VmError } from '../../test/vm/vm-error.js';
import { quoteWords } from '../../test/vm/shell.js';
import { BenchError } from '../bench-error.js';
import { Program } from '../lib/processes.js';

const PROMPT = /testpmd> /;
/** Buffers of each process, in the shape that they have by default. */
const BUFFERS = 16_384;
const MEGABYTES = 256;

export interface TestpmdOptions {
  /** The folder that {@link findDpdk} gave. */
  readonly folder: string;
  readonly name: string;
  /** The processor that forwards. */
  readonly processor: number;
  /** The processor of the thread that waits for commands. */
  readonly idleProcessor: number;
  /** Virtual devices. */
  readonly devices: readonly string[];
  /** More arguments of DPDK itself. */
  readonly more?: readonly string[];
  readonly signal: AbortSignal;
}

/** Frames per second that a port has received and sent. */
export interface PortRates {
  readonly received: number;
  readonly sent: number;
}

/**
 * The folder of DPDK, which is downloaded if need be.
 *
 * @throws BenchError if it can not be had
 */
export async function findDpdk(onProgress: (step: string) => void, signal: AbortSignal): Promise<string> {
  try {
    return await provideDpdk({ onProgress, signal });
  } catch (error) {
    if (error instanceof VmError) throw new BenchError(`DPDK can not be had. ${error.message}`, error);
    throw error;
  }
}

/** The words of its command line, beginning with the program. */
function testpmdWords(
  program: string,
  options: Omit<TestpmdOptions, 'signal' | 'name' | 'folder'>,
): string[] {
  const { processor, idleProcessor, devices, more = [] } = options;
  return [
    ...[program, '--lcores', `0@${idleProcessor},1@${processor}`],
    ...['--no-pci', '--no-huge', '-m', String(MEGABYTES), '--iova-mode=va', '--no-shconf', '--no-telemetry'],
    ...['--log-level=lib.vhost*:error', ...more, ...devices.flatMap((device) => ['--vdev', device]), '--'],
    ...['-i', '--nb-cores=1', `--total-num-mbufs=${BUFFERS}`, '--disable-link-check'],
  ];
}

/** Its command line as one would type it. */
export function testpmdLine(options: Omit<TestpmdOptions, 'signal' | 'name' | 'folder'>): string {
  return quoteWords(testpmdWords('dpdk-testpmd', options));
}

export class Testpmd {
  private readonly program: Program;

  private constructor(program: Program) {
    this.program = program;
  }

  /** @throws BenchError if it does not get as far as its prompt */
  static async start(options: TestpmdOptions): Promise<Testpmd> {
    const { path, environment } = dpdkProgram(options.folder);
    const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
    // Into a pipe it would write in blocks, and an answer would come when the block is full.
    const words = ['env', ...variables, 'stdbuf', '-oL', ...testpmdWords(path, options)];
    const program = await Program.start(options.name, words, { signal: options.signal });
    await program.read(PROMPT);
    return new Testpmd(program);
  }

  /** What it has said of itself lately. */
  get diagnostics(): string {
    return this.program.diagnostics;
  }

  /** Gives a command, and its answer. */
  async command(line: string): Promise<string> {
    this.program.write(line);
    const answer = await this.program.read(PROMPT);
    if (/Command not found|Bad arguments|Ambiguous command/.test(answer)) {
      throw this.program.failure(`did not understand "${line}"`);
    }
    return answer;
  }

  /** What a port has done for each second since this was last asked, by its own clock. */
  async rates(port: number): Promise<PortRates> {
    const answer = await this.command(`show port stats ${port}`);
    const rate = (name: string): number => {
      const found = new RegExp(`${name}-pps:\\s*(\\d+)`).exec(answer);
      if (found === null) throw this.program.failure(`told no rate: ${answer.trim()}`);
      return Number(found[1]);
    };
    return { received: rate('Rx'), sent: rate('Tx') };
  }

  quit(): Promise<void> {
    return this.program.end('quit');
  }
}
