import { spawn } from 'node:child_process';

export interface RunResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd: string;
  readonly env?: NodeJS.ProcessEnv;
}

/** Runs a program to its end. */
export function run(program: string, args: readonly string[], options: RunOptions): Promise<RunResult> {
  const { cwd, env = process.env } = options;
  const child = spawn(program, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve({ status, stdout, stderr }));
  });
}

/** As `run()`, but a program that fails is an error that tells what it said. */
export async function runWell(
  program: string,
  args: readonly string[],
  options: RunOptions,
): Promise<RunResult> {
  const result = await run(program, args, options);
  if (result.status === 0) return result;
  const { status, stdout, stderr } = result;
  throw new Error(`${[program, ...args].join(' ')} ended with ${status}:\n${stdout}\n${stderr}`);
}

/** Runs a file with this Node, in the folder where it lies unless told otherwise. */
export function runNode(path: string, options: RunOptions, args: readonly string[] = []): Promise<RunResult> {
  return run(process.execPath, [...args, path], options);
}
