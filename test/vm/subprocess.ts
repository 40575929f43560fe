import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { VmError, type VmErrorCode } from './vm-error.js';

// Tools of the system administrator are not on everybody's PATH.
const SEARCH_PATH = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];

/** Where a program is, or undefined. */
export function findProgram(name: string): string | undefined {
  return SEARCH_PATH.map((directory) => join(directory, name)).find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export interface CaptureOptions {
  readonly cwd?: string;
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
  { cwd, signal }: CaptureOptions = {},
): Promise<string> {
  const options = {
    cwd,
    signal,
    maxBuffer: 64 * 1024 * 1024,
    env: { ...process.env, PATH: SEARCH_PATH.join(delimiter) },
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
