import { execFile } from 'node:child_process';
import { delimiter } from 'node:path';
import { SEARCH_PATH } from '../tools/programs.mjs';
import { VmError, type VmErrorCode } from './vm-error.js';

export interface CaptureOptions {
  readonly cwd?: string;
  /** Variables beside those of this process. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Kills the program. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs a program to its end and gives its standard output.
 *
 * @throws VmError with the given code, and with what the program wrote to standard error
 */
export function capture(
  code: VmErrorCode,
  program: string,
  args: readonly string[],
  { cwd, environment, signal }: CaptureOptions = {},
): Promise<string> {
  const options = {
    cwd,
    signal,
    maxBuffer: 64 * 1024 * 1024,
    env: { ...process.env, PATH: SEARCH_PATH.join(delimiter), ...environment },
  };
  return new Promise((resolve, reject) => {
    execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null) {
        resolve(stdout);
        return;
      }
      const said = stderr.trim() === '' ? error.message : stderr.trim();
      reject(new VmError(code, `${[program, ...args].join(' ')} failed: ${said}`, error));
    });
  });
}
