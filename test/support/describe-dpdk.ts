import { describe } from 'vitest';
import { findProgram } from '../tools/programs.mjs';

/** The first one downloads DPDK. */
const MILLISECONDS = 60_000;

/**
 * A suite whose tests run DPDK's testpmd on this machine. Where that can not be had, it is skipped and says why in its
 * name; in CI, where nothing may be skipped, it fails instead.
 */
export function describeDpdk(name: string, suite: () => void): void {
  const why = whyUnavailable();
  if (why !== undefined && process.env.CI === undefined) describe.skip(`${name} (${why})`, suite);
  else describe(name, { timeout: MILLISECONDS }, suite);
}

function whyUnavailable(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'needs Linux on x64';
  const missing = ['apt-get', 'dpkg', 'setpriv'].filter((program) => findProgram(program) === undefined);
  return missing.length === 0 ? undefined : `needs ${missing.join(', ')}`;
}
