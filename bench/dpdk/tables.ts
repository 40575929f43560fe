/** The results of the rounds as tables and plots. */
import type { Distance } from '../lib/distance.js';
import { figuresOf, ratiosOf, type Round } from '../lib/rounds.js';
import { rounded, summarize, type Summary } from '../lib/statistics.js';
import type { Bar, BarPlot, Cell, Column, Table } from '../result.js';
import { shapeName, type RingShape, type TrafficCase } from './cases.js';
import { DPDK, DPDK_VECTORIZED, ownName } from './rig.js';

/** What the rounds of one case in one shape have given. */
export interface Measurement {
  readonly traffic: TrafficCase;
  readonly shape: RingShape;
  readonly size: number;
  readonly rounds: Readonly<Record<Distance, readonly Round[]>>;
}

const PLACE: Readonly<Record<Distance, string>> = {
  near: 'processors near each other',
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
  { name: 'from – to' },
  { name: 'DPDK virtio-user', unit: 'Mpps' },
  { name: 'from – to' },
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

/** A table for each distance at which there are rounds with frames of that size. */
export function tablesOf(
  measurements: readonly Measurement[],
  size: number,
  distances: readonly Distance[],
): Table[] {
  return distances.flatMap((distance) => {
    const rows = measurements.filter((each) => each.size === size).flatMap((each) => rowsOf(each, distance));
    if (rows.length === 0) return [];
    const large = size >= 512;
    const gigabits = (row: Row): Cell[] => (large ? [rounded((row.own.median * size * 8) / 1000)] : []);
    return [
      {
        title: `Frames of ${size} bytes, ${PLACE[distance]}`,
        columns: [...COLUMNS, ...(large ? [{ name: 'virtio-net', unit: 'Gbit/s' }] : [])],
        rows: rows.map((row) => [...cellsOf(row), ...gigabits(row)]),
      },
    ];
  });
}

function barOf(summary: Summary | undefined): Bar | null {
  if (summary === undefined) return null;
  return { value: rounded(summary.median), low: rounded(summary.low), high: rounded(summary.high) };
}

export function plotsOf(
  measurements: readonly Measurement[],
  size: number,
  distances: readonly Distance[],
): BarPlot[] {
  return distances.flatMap((distance): BarPlot[] => {
    const rows = measurements.filter((each) => each.size === size).flatMap((each) => rowsOf(each, distance));
    if (rows.length === 0) return [];
    const series = [
      { name: 'virtio-net (JavaScript)', bars: rows.map(({ own }) => barOf(own)) },
      { name: 'DPDK virtio-user (C)', bars: rows.map(({ peer }) => barOf(peer)) },
      { name: 'its vectorised path', bars: rows.map(({ vectorized }) => barOf(vectorized)) },
    ];
    return [
      {
        kind: 'bars',
        title: `Frames of ${size} bytes, ${PLACE[distance]}`,
        unit: 'Mpps',
        groups: rows.map(({ name, rings }) => `${name}, ${rings}`),
        series: series.filter(({ bars }) => bars.some((bar) => bar !== null)),
      },
    ];
  });
}
