/**
 * Contenders measured in turn, round after round, each trial only while the processors stay at one distance.
 *
 * A round counts if all of it was measured at the same distance. What was measured near and what was measured far are
 * sets of results of their own: nothing is ever compared across.
 */
import { DISTANCES, type Distance } from './distance.js';

export interface Contender {
  readonly name: string;
  /** One trial: a figure, the more the better or the less, as long as it is the same for all. */
  readonly measure: () => Promise<number>;
}

/** The figures of one round by the names of the contenders. */
export type Round = ReadonlyMap<string, number>;

export interface RoundResults {
  readonly rounds: Readonly<Record<Distance, readonly Round[]>>;
  /** Trials that were thrown away since the distance changed meanwhile, or was another than that of their round. */
  readonly thrownAway: number;
}

export interface RoundOptions {
  /** How many whole rounds there shall be at one of the distances. */
  readonly rounds: number;
  /** Rounds to try at most, whole or not: by default four times as many. */
  readonly most?: number;
  /** Only rounds at this distance count towards the number; by default whichever comes first. */
  readonly wanted?: Distance;
  /** The distance right now. */
  readonly classify: () => Promise<Distance>;
  /** Each trial that begins. */
  readonly onTrial?: (round: number, contender: string) => void;
}

const TRIES_PER_TRIAL = 3;

export async function measureRounds(
  contenders: readonly Contender[],
  options: RoundOptions,
): Promise<RoundResults> {
  const rounds: Record<Distance, Round[]> = { near: [], between: [], far: [] };
  let thrownAway = 0;
  const enough = (): boolean => {
    const counted = options.wanted === undefined ? DISTANCES : [options.wanted];
    return counted.some((distance) => rounds[distance].length >= options.rounds);
  };
  const most = options.most ?? 4 * options.rounds;
  for (let number = 0; number < most && !enough(); number += 1) {
    const result = await measureRound(rotated(contenders, number), options, number);
    thrownAway += result.thrownAway;
    if (result.round !== undefined) rounds[result.distance].push(result.round);
  }
  return { rounds, thrownAway };
}

interface RoundResult {
  readonly distance: Distance;
  /** Undefined if the distance did not hold. */
  readonly round: Round | undefined;
  readonly thrownAway: number;
}

async function measureRound(
  contenders: readonly Contender[],
  { classify, onTrial }: RoundOptions,
  number: number,
): Promise<RoundResult> {
  const distance = await classify();
  const round = new Map<string, number>();
  let thrownAway = 0;
  for (const { name, measure } of contenders) {
    for (let tries = 0; !round.has(name); tries += 1) {
      if (tries === TRIES_PER_TRIAL)
        return { distance, round: undefined, thrownAway: thrownAway + round.size };
      if ((await classify()) !== distance) continue;
      onTrial?.(number, name);
      const figure = await measure();
      if ((await classify()) === distance) round.set(name, figure);
      else thrownAway += 1;
    }
  }
  return { distance, round, thrownAway };
}

/** Each round begins with another one, so that nobody always runs first. */
function rotated<Item>(items: readonly Item[], by: number): Item[] {
  const at = by % items.length;
  return [...items.slice(at), ...items.slice(0, at)];
}

/** All figures of a contender at one distance. */
export function figuresOf(rounds: readonly Round[], name: string): number[] {
  return rounds.map((round) => round.get(name)).filter((figure) => figure !== undefined);
}

/** For each round the figure of one over that of another: what drifts from round to round cancels out. */
export function ratiosOf(rounds: readonly Round[], name: string, over: string): number[] {
  return rounds.flatMap((round) => {
    const [one, other] = [round.get(name), round.get(over)];
    return one === undefined || other === undefined || other === 0 ? [] : [one / other];
  });
}
