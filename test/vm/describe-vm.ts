import { beforeAll, describe } from 'vitest';
import { requireVm, whyVmUnavailable } from './requirements.js';

/** Enough for a test that boots one guest, on a machine that has other things to do. */
export const VM_TEST_MILLISECONDS = 180_000;

/**
 * A suite whose tests run VMs. Where the machine can not, it is skipped and says why in its name; in CI, where
 * nothing may be skipped, it fails instead.
 */
export function describeVm(name: string, suite: () => void): void {
  const why = whyVmUnavailable();
  if (why !== undefined && process.env.CI === undefined) {
    describe.skip(`${name} (${why})`, suite);
    return;
  }
  describe(name, { timeout: VM_TEST_MILLISECONDS }, () => {
    beforeAll(() => requireVm());
    suite();
  });
}
