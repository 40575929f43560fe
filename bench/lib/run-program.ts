/** A program of the benchmark, run to its end. */
import { once } from 'node:events';
import { spawn } from 'node:child_process';
import { BenchError } from '../bench-error.js';
import { compiledProgram } from './compile.js';

export interface RunOptions {
  /** The processor that it runs on; any by default. */
  readonly processor?: number | undefined;
  /** Options of Node.js itself. */
  readonly nodeOptions?: readonly string[];
  /** How long it may take. Default: 60 seconds. */
  readonly seconds?: number;
  readonly signal: AbortSignal;
}

/**
 * Runs `bench/programs/NAME.ts` with a request as its argument, and gives its answer: the JSON on its last line.
 *
 * @throws BenchError if it fails or gives none in time
 */
export async function runProgram(name: string, request: object, options: RunOptions): Promise<unknown> {
  const { processor, nodeOptions = [], seconds = 60, signal } = options;
  const pinned = processor === undefined ? [] : ['taskset', '-c', String(processor)];
  const program = [process.execPath, ...nodeOptions, compiledProgram(name), JSON.stringify(request)];
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...pinned, ...program], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: seconds * 1000,
    killSignal: 'SIGKILL',
    signal,
  });
  let output = '';
  let complaints = '';
  child.stdout.on('data', (bytes: Buffer) => (output += bytes.toString()));
  child.stderr.on('data', (bytes: Buffer) => (complaints += bytes.toString()));
  const [status] = (await once(child, 'close')) as [number | null];
  const last = output.trim().split('\n').at(-1) ?? '';
  if (status === 0 && last.startsWith('{')) return JSON.parse(last) as unknown;
  const end = status === null ? `did not end within ${seconds} seconds` : `failed (${status})`;
  throw new BenchError(`The program ${name} ${end}.\n${complaints.trim()}`);
}
