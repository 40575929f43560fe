/** Running an example as a program of its own. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { ROOT } from '../vm/paths.js';

export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Example {
  readonly program: ChildProcessByStdio<null, Readable, Readable>;
  readonly ended: Promise<Ended>;
}

/** @param commandLine - the name of the example, without `.ts`, and its arguments */
export function startExample(commandLine: string): Example {
  const [name, ...words] = commandLine.split(' ');
  const args = ['--import', 'tsx', `examples/${name}.ts`, ...words];
  const program = spawn(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
  const written = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    program[stream].setEncoding('utf8').on('data', (text: string) => (written[stream] += text));
  }
  const ended = once(program, 'close').then(([status]) => ({ status: status as number | null, ...written }));
  return { program, ended };
}

const LINE = /: (\d+) frames received, (\d+) bytes; (\d+) sent, (\d+) bytes$/;

/** The numbers of each line of totals: frames and bytes received, frames and bytes sent. */
export function totals(stdout: string): number[][] {
  const lines = stdout.split('\n').map((line) => LINE.exec(line)?.slice(1).map(Number));
  return lines.filter((numbers) => numbers !== undefined);
}
