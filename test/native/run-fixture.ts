/** Running a TypeScript file in a Node process of its own, for what a test runner's process can not show. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export interface FixtureResult {
  readonly status: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs fixtures/NAME with the arguments given to it. */
export function runFixture(
  name: string,
  args: string[] = [],
  env: Record<string, string> = {},
): FixtureResult {
  const path = fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', path, ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
    timeout: 60_000,
  });
  return { status, signal, stdout, stderr };
}
