/** Test programs in a guest, and what they report. */
import { basename } from 'node:path';
import { bundleProgram } from './guest-programs.js';
import { runVm, type VmOptions, type VmResult } from './run-vm.js';

/** What a program reported with `report()`, by name. */
export function reported(output: string): Record<string, unknown> {
  const seen: Record<string, unknown> = {};
  for (const line of output.split('\n').filter((text) => text.startsWith('{"name":'))) {
    const { name, value } = JSON.parse(line) as { name: string; value: unknown };
    seen[name] = value;
  }
  return seen;
}

/**
 * Runs a shell script in a guest that has the given programs in /app.
 *
 * @param programs - in the folder of the tests and without `.ts`: `system/guest/lives` becomes `/app/lives.mjs`
 */
export async function runGuest(
  programs: readonly string[],
  script: string,
  options: Partial<VmOptions> = {},
): Promise<VmResult> {
  const files: Record<string, string> = {};
  for (const program of programs) {
    files[`/app/${basename(program)}.mjs`] = await bundleProgram(`test/${program}.ts`);
  }
  return runVm({ timeoutSeconds: 900, ...options, command: script, files: { ...files, ...options.files } });
}
