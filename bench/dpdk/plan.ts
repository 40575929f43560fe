/** What of all the cases a run measures, and about how long that takes. */
import type { BenchContext } from '../section.js';
import { CASES, SHAPES, type RingShape, type TrafficCase } from './cases.js';

export interface Plan {
  readonly shapes: readonly RingShape[];
  readonly cases: readonly TrafficCase[];
  readonly sizes: readonly number[];
  readonly vectorized: boolean;
  /** How long to wait for the distance at which something is still missing, in seconds. */
  readonly patience: number;
}

/** Seconds of a trial, and of what it takes to get to the next case. */
const TRIAL_SECONDS = 1.1;
const CASE_SECONDS = 1.2;

export function planOf(
  { quick, rounds }: Pick<BenchContext, 'quick' | 'rounds'>,
  sizes: readonly number[],
  patience: number,
): Plan {
  // The table that is to show how things are, and not only that it works, wants both.
  if (!quick)
    return { shapes: SHAPES, cases: CASES, sizes, vectorized: true, patience: rounds > 1 ? patience : 0 };
  return {
    shapes: SHAPES.filter(({ inOrder, mergeable }) => !inOrder && !mergeable),
    cases: CASES.filter(({ name }) => name !== 'loop'),
    sizes,
    vectorized: false,
    patience: 0,
  };
}

/**
 * DPDK's vectorised path is there only where frames are not spread over buffers. That of packed rings wants buffers to be
 * used in order, and that of split rings not.
 */
export const hasVectorized = ({ vectorized }: Plan, { packed, inOrder, mergeable }: RingShape): boolean =>
  vectorized && !mergeable && inOrder === packed;

/** Trials of one round of everything. */
export function trialsPerRound(plan: Plan): number {
  const perShape = plan.shapes.map((shape) => {
    const peers = hasVectorized(plan, shape) ? 2 : 1;
    return plan.cases.reduce((sum, { ours }) => sum + ours.length + peers, 0);
  });
  return perShape.reduce((sum, trials) => sum + trials, 0) * plan.sizes.length;
}

/** Those before the first round included, which count for nothing. */
export function estimateSeconds(plan: Plan, rounds: number): number {
  const cases = plan.shapes.length * plan.cases.length * plan.sizes.length;
  return trialsPerRound(plan) * (rounds + 1) * TRIAL_SECONDS + cases * CASE_SECONDS + plan.patience;
}
