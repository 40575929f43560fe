/** Nothing is allocated for a frame on the polled path, nor for a burst: measured in a process of its own. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';

const FRAMES = 500_000;
const BURST = 32;
/** Room for so much that is allocated, before anything is collected. */
const SPACE_MIB = 16;

interface Run {
  /** In the quietest round. */
  readonly carried: number;
  readonly collections: number;
  /** In bytes; says nothing where something was collected meanwhile. */
  readonly allocated: number;
  readonly rounds: number;
  /** In all rounds. */
  readonly received: number;
  readonly sent: number;
  readonly wasted: boolean;
}

function run(...words: string[]): Run {
  const space = [`--min-semi-space-size=${SPACE_MIB}`, `--max-semi-space-size=${SPACE_MIB}`];
  const program = fileURLToPath(new URL('./fixtures/polled-run.ts', import.meta.url));
  const args = [...space, '--import', 'tsx', program, ...words];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout) as Run;
}

const RINGS = [
  ['split', 'plain'],
  ['split', 'mergeable'],
  ['packed', 'plain'],
  ['packed', 'mergeable'],
] as const;

describe.each(RINGS)('on %s rings with %s buffers', (format, buffers) => {
  /** As many bursts, but no frames in them. */
  let idle: Run;

  beforeAll(() => {
    idle = run(format, buffers, 'none', String(FRAMES));
  });

  it.each(['receive', 'transmit', 'loop'])('nothing is allocated to %s', (way) => {
    const seen = run(format, buffers, way, String(FRAMES));
    const all = seen.rounds * FRAMES;
    expect(seen).toMatchObject({ carried: FRAMES, received: way === 'transmit' ? 0 : all });
    expect(seen.sent).toBe(way === 'receive' ? 0 : all);
    expect(seen.collections).toBeLessThanOrEqual(idle.collections);
    // Not a byte for each burst, where the smallest object has 12.
    expect(seen.allocated).toBeLessThan(Math.max(idle.allocated, 0) + FRAMES / BURST);
  });
});

describe('the measurement', () => {
  it('shows a program that has a view made of each frame', () => {
    const seen = run('split', 'plain', 'receive', String(FRAMES), 'wasteful');
    expect(seen).toMatchObject({ carried: FRAMES, wasted: true });
    expect(seen.collections).toBeGreaterThan(1);
  });
});
