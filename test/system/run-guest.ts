import { bundleProgram } from '../vm/guest-programs.js';
import { runVm, type VmOptions, type VmResult } from '../vm/run-vm.js';

/** What a program reported with `report()`, by name. */
export function reported(output: string): Record<string, unknown> {
  const seen: Record<string, unknown> = {};
  for (const line of output.split('\n').filter((text) => text.startsWith('{"name":'))) {
    const { name, value } = JSON.parse(line) as { name: string; value: unknown };
    seen[name] = value;
  }
  return seen;
}

/** Runs a shell script in a guest that has the given programs of `guest/` in /app, as NAME.mjs. */
export async function runGuest(
  programs: readonly string[],
  script: string,
  options: Partial<VmOptions> = {},
): Promise<VmResult> {
  const files: Record<string, string> = {};
  for (const name of programs)
    files[`/app/${name}.mjs`] = await bundleProgram(`test/system/guest/${name}.ts`);
  return runVm({ timeoutSeconds: 900, ...options, command: script, files: { ...files, ...options.files } });
}
