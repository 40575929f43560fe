import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Distance } from '../../bench/lib/distance.js';
import { figuresOf, measureRounds, ratiosOf, type Round } from '../../bench/lib/rounds.js';
import { median, quantile, rounded, summarize } from '../../bench/lib/statistics.js';

/** Contenders whose trials are written down, on a machine whose distance follows a script, and then stays. */
function rig(script: readonly Distance[]) {
  const trials: string[] = [];
  let looks = 0;
  const classify = (): Promise<Distance> => Promise.resolve(script[Math.min(looks++, script.length - 1)]);
  const contender = (name: string, figure: number) => ({
    name,
    measure: () => {
      trials.push(name);
      return Promise.resolve(figure);
    },
  });
  return { trials, classify, contenders: [contender('ours', 20), contender('theirs', 10)] };
}

describe('rounds', () => {
  it('measure all in turn, each round beginning with another', async () => {
    const { trials, classify, contenders } = rig(['near']);
    const { rounds, thrownAway } = await measureRounds(contenders, { rounds: 3, classify });
    expect(trials).toEqual(['ours', 'theirs', 'theirs', 'ours', 'ours', 'theirs']);
    expect(thrownAway).toBe(0);
    expect(figuresOf(rounds.near, 'ours')).toEqual([20, 20, 20]);
    expect(ratiosOf(rounds.near, 'ours', 'theirs')).toEqual([2, 2, 2]);
    expect(rounds.far).toEqual([]);
  });

  it('throw a trial away during which the distance changed, and repeat it', async () => {
    // Looks: the round's; before and after the first trial, which it spoils; again; and so on.
    const { trials, classify, contenders } = rig(['near', 'near', 'far', 'near']);
    const { rounds, thrownAway } = await measureRounds(contenders, { rounds: 1, classify });
    expect(trials).toEqual(['ours', 'ours', 'theirs']);
    expect(thrownAway).toBe(1);
    expect(rounds.near.map((round) => [...round])).toEqual([
      [
        ['ours', 20],
        ['theirs', 10],
      ],
    ]);
  });

  it('give a round up whose distance does not come back, and keep near and far apart', async () => {
    const { classify, contenders } = rig(['near', 'near', 'near', 'far']);
    const { rounds, thrownAway } = await measureRounds(contenders, { rounds: 2, classify });
    expect(thrownAway).toBe(1);
    expect(rounds.near).toEqual([]);
    expect(rounds.far).toHaveLength(2);
  });

  it('end after a number of attempts on a machine that is never at rest', async () => {
    let looks = 0;
    const classify = (): Promise<Distance> => Promise.resolve(looks++ % 2 === 0 ? 'near' : 'far');
    const { contenders } = rig(['near']);
    const { rounds } = await measureRounds(contenders, { rounds: 5, most: 7, classify });
    expect([rounds.near, rounds.far]).toEqual([[], []]);
  });

  it('count those at the wanted distance only, where one is wanted', async () => {
    const { classify, contenders } = rig([...Array<Distance>(20).fill('near'), 'far']);
    const { rounds } = await measureRounds(contenders, { rounds: 2, wanted: 'far', classify });
    expect(rounds.far).toHaveLength(2);
    expect(rounds.near.length).toBeGreaterThan(2);
  });

  it('compare within a round, and leave out what has nothing to be compared with', () => {
    const rounds: Round[] = [
      new Map([['a', 3]]),
      new Map(Object.entries({ a: 3, b: 2 })),
      new Map(Object.entries({ a: 1, b: 0 })),
    ];
    expect(ratiosOf(rounds, 'a', 'b')).toEqual([1.5]);
  });
});

describe('statistics', () => {
  it('has the middle, between two where the number is even', () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(quantile([10, 20, 30, 40, 50], 0.9)).toBe(46);
    expect(summarize([3, 1, 2])).toEqual({ median: 2, low: 1, high: 3, count: 3 });
    expect(summarize([])).toBeUndefined();
    expect(() => median([])).toThrow(RangeError);
  });

  it('keeps quantiles in order and between the extremes', () => {
    const values = fc.array(fc.double({ noNaN: true, min: -1e9, max: 1e9 }), { minLength: 1 });
    const part = fc.double({ noNaN: true, min: 0, max: 1 });
    fc.assert(
      fc.property(values, part, part, (all, one, other) => {
        const [low, high] = [Math.min(one, other), Math.max(one, other)];
        const slack = 1e-6;
        expect(quantile(all, low)).toBeLessThanOrEqual(quantile(all, high) + slack);
        expect(quantile(all, low)).toBeGreaterThanOrEqual(Math.min(...all) - slack);
        expect(quantile(all, high)).toBeLessThanOrEqual(Math.max(...all) + slack);
      }),
    );
  });

  it('rounds to what was measured', () => {
    expect([rounded(12.3456), rounded(0.98765), rounded(123456), rounded(1, 2)]).toEqual([
      12.3, 0.988, 123000, 1,
    ]);
  });
});
