/** How long frames take to the backend and back. */
import { chooseProcessors } from '../lib/processors.js';
import { runProgram } from '../lib/run-program.js';
import { median, rounded } from '../lib/statistics.js';
import { withBackend } from '../lib/with-backend.js';
import { withGauge, type Gauged } from '../lib/with-gauge.js';
import { formatFigure } from '../report/figures.js';
import type { LatencyAnswer, LatencyRequest } from '../programs/latency.js';
import type { Cell, LinePlot, SectionResult, Table } from '../result.js';
import type { BenchContext, Section } from '../section.js';

type Way = Pick<LatencyRequest, 'packed' | 'mode' | 'rate'> & { readonly name: string };

const FRAME_LENGTH = 64;
const RATES = [100_000, 500_000, 1_000_000, 2_000_000];

const formats = [
  { packed: false, format: 'split' },
  { packed: true, format: 'packed' },
];
const atRates = (rates: readonly number[]): Way[] =>
  formats.flatMap(({ packed, format }) =>
    rates.map((rate): Way => ({
      packed,
      mode: 'polled',
      rate,
      name: `${format}, polled, ${rate / 1e6} Mpps`,
    })),
  );
const inTurn: readonly Way[] = formats.flatMap(({ packed, format }): Way[] => [
  { packed, mode: 'polled', rate: 0, name: `${format}, polled, one frame after the other` },
  { packed, mode: 'interrupts', rate: 0, name: `${format}, interrupts, one frame after the other` },
]);
const MACHINE: Way = {
  packed: false,
  mode: 'idle',
  rate: 1_000_000,
  name: 'without frames: what the machine itself adds at 1 Mpps',
};

const waysOf = (quick: boolean): Way[] => [...atRates(quick ? [1_000_000] : RATES), ...inTurn, MACHINE];

interface Measured {
  readonly way: Way;
  readonly answers: readonly LatencyAnswer[];
}

async function measure(
  { quick, rounds, signal, steps }: BenchContext,
  look: () => Promise<unknown>,
): Promise<Measured[]> {
  const processors = chooseProcessors();
  const ways = waysOf(quick);
  const turns = quick ? 1 : rounds;
  steps.expect(ways.length * turns);
  const measured = ways.map((way) => ({ way, answers: [] as LatencyAnswer[] }));
  const times = { warmUpSeconds: quick ? 0.2 : 0.5, seconds: quick ? 0.5 : 2 };
  await withBackend({ forward: 'io', processors, signal }, async (socket) => {
    for (let turn = 0; turn < turns; turn += 1) {
      for (const { way, answers } of measured) {
        await look();
        steps.begin(way.name);
        const { packed, mode, rate } = way;
        const request: LatencyRequest = { socket, packed, mode, rate, frameLength: FRAME_LENGTH, ...times };
        const options = { processor: processors.driver, signal };
        answers.push((await runProgram('latency', request, options)) as LatencyAnswer);
      }
    }
  });
  return measured;
}

const PERCENTILES = [
  { key: 'p50', name: 'p50' },
  { key: 'p90', name: 'p90' },
  { key: 'p99', name: 'p99' },
  { key: 'p999', name: 'p99.9' },
  { key: 'p9999', name: 'p99.99' },
  { key: 'max', name: 'max' },
] as const;

const rangeOf = (values: readonly number[]): string =>
  `${formatFigure(Math.min(...values))} to ${formatFigure(Math.max(...values))}`;

/** Of a percentile the middle one of the rounds: a pause of the machine in one of them is not the driver's. */
function rowOf({ way, answers }: Measured): Cell[] {
  const { rate, mode } = way;
  const middle = (of: (answer: LatencyAnswer) => number): number => rounded(median(answers.map(of)));
  return [
    way.name,
    ...PERCENTILES.map(({ key }) => middle((answer) => answer[key])),
    rangeOf(answers.map(({ max }) => max)),
    rate === 0 || mode === 'idle' ? null : middle(({ sent, seconds }) => sent / seconds / 1e6),
    middle(({ lost, sent }) => (lost * 1e6) / Math.max(1, sent)),
    middle(({ collections }) => collections.count),
    middle(({ collections }) => collections.longest * 1000),
    middle(({ cpu }) => cpu * 100),
  ];
}

function tableOf(measured: readonly Measured[]): Table {
  return {
    title: 'There and back',
    columns: [
      { name: 'way' },
      ...PERCENTILES.map(({ name }) => ({ name, unit: 'µs' })),
      { name: 'max, lowest to highest round', unit: 'µs' },
      { name: 'sent', unit: 'Mpps' },
      { name: 'lost', unit: 'per million' },
      { name: 'collections' },
      { name: 'longest collection', unit: 'µs' },
      { name: 'processor', unit: '%' },
    ],
    rows: measured.map(rowOf),
  };
}

/** The more nines, the further to the right: 1 is p90, 2 is p99 and so on. */
const NINES = [
  ['p50', 0.301],
  ['p90', 1],
  ['p99', 2],
  ['p999', 3],
  ['p9999', 4],
] as const;

function plotOf(measured: readonly Measured[]): LinePlot {
  const drawn = measured.filter(({ way }) => way.rate === 0 || way.rate === 1_000_000);
  return {
    kind: 'lines',
    title: 'There and back',
    unit: 'µs',
    x: { name: 'nines of the percentile: 1 is p90, 2 is p99, 3 is p99.9', scale: 'linear' },
    scale: 'logarithmic',
    series: drawn.map(({ way, answers }) => ({
      name: way.name,
      points: NINES.map(([key, x]) => [x, rounded(median(answers.map((answer) => answer[key])))] as const),
    })),
  };
}

function describe({ result: measured, note }: Gauged<Measured[]>): SectionResult {
  return {
    title: 'Latency',
    what:
      'Frames of 64 bytes through DPDK’s testpmd and back, which takes them from the transmit ring and puts them into the ' +
      'receive ring, on a processor of its own. Rings of 512 descriptors. At a steady rate a frame’s time counts from when it ' +
      'was due, whether the program came to send it or not: a pause shows in all frames that it held up.',
    tables: [tableOf(measured)],
    plots: [plotOf(measured)],
    notes: [
      'Each figure is the median of the rounds, of the max beside it the lowest and the highest too. The machine is a virtual one that shares its processors with others: the ' +
        'last line is the same program without a single frame, and shows for how long it was not running at all. Beyond ' +
        'p99 that is what the other lines show too.',
      'Frames are lost where the program pauses for longer than the receive ring has room for. A frame that is lost has no ' +
        'time, and is in no percentile.',
      'Collections are those of V8 within a round: a few come from the first moments, before the code is optimised, and ' +
        'with interrupts from the events of the event loop.',
      'For comparison, on other hardware (ixgbe cards at 1 Mpps, as their authors measured): ixy.js has 5 µs at p50, 116 at ' +
        'p99, 159 at p99.9 and at most 359; ixy in C has 3.8, 3.9, 4.2 and 23.',
      note,
    ],
  };
}

export const latency: Section = {
  name: 'latency',
  title: 'Latency',
  seconds: ({ quick, rounds }) => 3 + waysOf(quick).length * (quick ? 2 : 4 * rounds),
  run: async (context) => describe(await withGauge((look) => measure(context, look))),
};
