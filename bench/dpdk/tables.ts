/** The results of the rounds as tables and plots. */
import { DISTANCES, type Distance } from '../lib/distance.js';
import { figuresOf, ratiosOf, type Round } from '../lib/rounds.js';
import { rounded, summarize, type Summary } from '../lib/statistics.js';
import type { Bar, BarPlot, Cell, Column, Sample, Table } from '../result.js';
import type { Measurement } from './campaign.js';
import { shapeName } from './cases.js';
import { DPDK, DPDK_VECTORIZED, ownName } from './rig.js';

const PLACE: Readonly<Record<Distance, string>> = {
  near: 'processors near each other',
  between: 'processors at a middle distance',
  far: 'processors far from each other',
};

/** A row of a table: one of our programs beside DPDK's drivers in the same case. */
interface Row {
  readonly name: string;
  readonly rings: string;
  readonly own: Summary;
  readonly peer: Summary;
  readonly ratio: Summary;
  readonly vectorized: Summary | undefined;
  readonly vectorizedRatio: Summary | undefined;
}

function rowsOf({ traffic, shape, rounds }: Measurement, distance: Distance): Row[] {
  const done = rounds[distance];
  const peer = summarize(figuresOf(done, DPDK));
  return traffic.ours.flatMap(({ mode, row }) => {
    const own = summarize(figuresOf(done, ownName(mode)));
    const ratio = summarize(ratiosOf(done, ownName(mode), DPDK));
    if (peer === undefined || own === undefined || ratio === undefined) return [];
    const vectorized = summarize(figuresOf(done, DPDK_VECTORIZED));
    const vectorizedRatio = summarize(ratiosOf(done, ownName(mode), DPDK_VECTORIZED));
    return [{ name: row, rings: shapeName(shape), own, peer, ratio, vectorized, vectorizedRatio }];
  });
}

const COLUMNS: readonly Column[] = [
  { name: 'Case' },
  { name: 'Rings' },
  { name: 'virtio-net', unit: 'Mpps' },
  { name: 'from – to', unit: 'Mpps' },
  { name: 'DPDK virtio-user', unit: 'Mpps' },
  { name: 'from – to', unit: 'Mpps' },
  { name: 'ratio' },
  { name: 'from – to' },
  { name: 'vectorised', unit: 'Mpps' },
  { name: 'ratio to that' },
  { name: 'rounds' },
];

const range = ({ low, high }: Summary): string => `${low.toFixed(2)} – ${high.toFixed(2)}`;

function cellsOf(row: Row): Cell[] {
  const { name, rings, own, peer, ratio, vectorized, vectorizedRatio } = row;
  return [
    ...[name, rings, rounded(own.median), range(own), rounded(peer.median), range(peer)],
    ...[rounded(ratio.median), range(ratio)],
    vectorized === undefined ? null : rounded(vectorized.median),
    vectorizedRatio === undefined ? null : rounded(vectorizedRatio.median),
    own.count,
  ];
}

/** Fewer rounds than that say little. */
const LEAST_ROUNDS = 3;

/** The rows of a size for each distance at which it was measured often enough, or as often as was asked for. */
function rowsByDistance(
  measurements: readonly Measurement[],
  size: number,
  rounds: number,
): (readonly [Distance, readonly Row[]])[] {
  const least = Math.min(LEAST_ROUNDS, rounds);
  return DISTANCES.flatMap((distance) => {
    const rows = measurements
      .filter((each) => each.size === size && each.rounds[distance].length >= least)
      .flatMap((each) => rowsOf(each, distance));
    return rows.length === 0 ? [] : [[distance, rows] as const];
  });
}

const titleOf = (size: number, distance: Distance): string => `Frames of ${size} bytes, ${PLACE[distance]}`;

export function tablesOf(measurements: readonly Measurement[], size: number, rounds: number): Table[] {
  const isLarge = size >= 512;
  const gigabits = ({ own }: Row): Cell[] => (isLarge ? [rounded((own.median * size * 8) / 1000)] : []);
  return rowsByDistance(measurements, size, rounds).map(([distance, rows]) => ({
    title: titleOf(size, distance),
    columns: [...COLUMNS, ...(isLarge ? [{ name: 'virtio-net', unit: 'Gbit/s' }] : [])],
    rows: rows.map((row) => [...cellsOf(row), ...gigabits(row)]),
  }));
}

/** The rows with a vectorised peer once more, as time: what a frame takes here and there, and what is between them. */
export function timeTables(measurements: readonly Measurement[], size: number, rounds: number): Table[] {
  return rowsByDistance(measurements, size, rounds).flatMap(([distance, rows]) => {
    const timed = rows.flatMap(({ name, rings, own, vectorized }): Cell[][] => {
      if (vectorized === undefined) return [];
      const [here, there] = [1000 / own.median, 1000 / vectorized.median];
      return [[name, rings, rounded(here), rounded(there), rounded(here - there, 2)]];
    });
    if (timed.length === 0) return [];
    const columns = [
      { name: 'Case' },
      { name: 'Rings' },
      { name: 'virtio-net', unit: 'ns per frame' },
      { name: 'vectorised', unit: 'ns per frame' },
      { name: 'difference', unit: 'ns per frame' },
    ];
    return [
      { title: `Beside the vectorised path of DPDK, in time, ${PLACE[distance]}`, columns, rows: timed },
    ];
  });
}

/** Everything that was measured, at each distance. */
export function samplesOf(measurements: readonly Measurement[]): Sample[] {
  const names = (rounds: readonly Round[]): string[] => [
    ...new Set(rounds.flatMap((round) => [...round.keys()])),
  ];
  return measurements.flatMap(({ traffic, shape, size, rounds }) =>
    DISTANCES.flatMap((distance) =>
      names(rounds[distance]).map((name) => ({
        name: `${traffic.name}, ${size} bytes, ${shapeName(shape)}, ${distance}: ${name}`,
        unit: 'Mpps',
        values: figuresOf(rounds[distance], name).map((figure) => rounded(figure, 4)),
      })),
    ),
  );
}

/** What a reader would miss: cases that were not measured often enough at a distance, or at all. */
export function lackingNotes(measurements: readonly Measurement[], rounds: number): string[] {
  return (['near', 'far'] as const).flatMap((distance) => {
    const lacking = measurements.filter((each) => each.rounds[distance].length < rounds);
    if (lacking.length === 0) return [];
    const without = lacking.filter((each) => each.rounds[distance].length < Math.min(LEAST_ROUNDS, rounds));
    return [
      `With the ${PLACE[distance]}, ${lacking.length} of ${measurements.length} cases lack rounds, and ${without.length} of ` +
        'these are left out: the machine was not often enough like that.',
    ];
  });
}

function barOf(summary: Summary | undefined): Bar | null {
  if (summary === undefined) return null;
  return { value: rounded(summary.median), low: rounded(summary.low), high: rounded(summary.high) };
}

/** More groups of bars than that do not fit on a screen. */
const MOST_GROUPS = 12;

/** The rows of each plot: all, or where these are too many, those of one case. */
function plotRows(rows: readonly Row[]): (readonly [string, readonly Row[]])[] {
  if (rows.length <= MOST_GROUPS) return [['', rows]];
  const caseOf = ({ name }: Row): string => name.split(',')[0];
  return [...new Set(rows.map(caseOf))].map(
    (name) => [`, ${name}`, rows.filter((row) => caseOf(row) === name)] as const,
  );
}

export function plotsOf(measurements: readonly Measurement[], size: number, rounds: number): BarPlot[] {
  const plots = rowsByDistance(measurements, size, rounds).flatMap(([distance, all]) =>
    plotRows(all).map(([words, rows]) => [distance, words, rows] as const),
  );
  return plots.map(([distance, words, rows]) => {
    const series = [
      { name: 'virtio-net (JavaScript)', bars: rows.map(({ own }) => barOf(own)) },
      { name: 'DPDK virtio-user (C)', bars: rows.map(({ peer }) => barOf(peer)) },
      { name: 'its vectorised path', bars: rows.map(({ vectorized }) => barOf(vectorized)) },
    ];
    return {
      kind: 'bars',
      title: titleOf(size, distance) + words,
      unit: 'Mpps',
      groups: rows.map(({ name, rings }) => `${name}, ${rings}`),
      series: series.filter(({ bars }) => bars.some((bar) => bar !== null)),
    };
  });
}
