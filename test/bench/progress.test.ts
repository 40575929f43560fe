import { describe, expect, it } from 'vitest';
import { formatSeconds, Progress } from '../../bench/lib/progress.js';

/** A progress whose clock is set by hand, and what it writes. */
function watch(isTTY: boolean) {
  const written: string[] = [];
  const clock = { milliseconds: 0 };
  const plan = [
    { title: 'First', seconds: 100 },
    { title: 'Second', seconds: 60 },
  ];
  const output = { isTTY, columns: 120, write: (text: string) => written.push(text) };
  return { written, clock, progress: new Progress(plan, output, () => clock.milliseconds) };
}

describe('the progress of the benchmark', () => {
  it('rewrites one line on a terminal: what runs, how much remains, for how long', () => {
    const { written, clock, progress } = watch(true);
    const steps = progress.beginSection();
    steps.expect(10);
    steps.begin('one');
    clock.milliseconds = 10_000;
    steps.begin('two');
    expect(written).toEqual([
      '\r\x1b[K[1/2] 2 min 40 s left | First: 1 of 10: one',
      '\r\x1b[K[1/2] 2 min 30 s left | First: 2 of 10: two',
    ]);
    progress.clear();
    expect(written.at(-1)).toBe('\r\x1b[K');
  });

  it('follows the pace of the section the more of it is done', () => {
    const { clock, progress } = watch(true);
    const steps = progress.beginSection();
    steps.expect(2);
    steps.begin('one');
    clock.milliseconds = 100_000;
    steps.begin('two');
    // Half is done after 100 s: between the 100 s of the estimate and the 200 s of its pace, and a minute for the other.
    expect(progress.secondsLeft).toBe(50 + 60);
  });

  it('writes a plain line from time to time elsewhere', () => {
    const { written, clock, progress } = watch(false);
    const steps = progress.beginSection();
    for (let i = 0; i < 30; i += 1) {
      steps.begin(`step ${i}`);
      clock.milliseconds += 1000;
    }
    progress.clear();
    expect(written).toEqual([
      '[1/2] First: step 0 (2 min 40 s left)\n',
      '[1/2] First: step 10 (2 min 30 s left)\n',
      '[1/2] First: step 20 (2 min 20 s left)\n',
    ]);
  });

  it.each([
    [-1, '0 s'],
    [59.4, '59 s'],
    [60, '1 min 00 s'],
    [605, '10 min 05 s'],
  ])('says %d seconds as %s', (seconds, text) => {
    expect(formatSeconds(seconds)).toBe(text);
  });
});
