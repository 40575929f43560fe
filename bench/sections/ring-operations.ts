/** What the driver's own side of a frame costs, with no other thread about. */
import { runProgram } from '../lib/run-program.js';
import { chooseProcessors } from '../lib/processors.js';
import { rounded, summarize, type Summary } from '../lib/statistics.js';
import type { RingAnswer, RingOperation, RingRequest } from '../programs/ring-operations.js';
import type { BarPlot, Cell, LinePlot, SectionResult, Table } from '../result.js';
import type { BenchContext, Section } from '../section.js';

interface Variant {
  readonly name: string;
  readonly packed: boolean;
  readonly inOrder: boolean;
  readonly mergeable: boolean;
}

const VARIANTS: readonly Variant[] = [
  { name: 'split', packed: false, inOrder: false, mergeable: false },
  { name: 'split, in order', packed: false, inOrder: true, mergeable: false },
  { name: 'split, mergeable', packed: false, inOrder: false, mergeable: true },
  { name: 'packed', packed: true, inOrder: false, mergeable: false },
  { name: 'packed, in order', packed: true, inOrder: true, mergeable: false },
  { name: 'packed, mergeable', packed: true, inOrder: false, mergeable: true },
];
/** The variants whose cost is drawn over bursts and ring sizes. */
const DRAWN: readonly string[] = ['split', 'packed'];

const BURST = 32;
const BURSTS = [1, 2, 4, 8, 16, 32, 64, 128];
const RING_SIZE = 256;
const RING_SIZES = [64, 128, 256, 512, 1024];
const FRAME_LENGTH = 64;

type WholeOperation = 'receive' | 'transmit' | 'transmit-fresh';

const WORDS: Readonly<Record<WholeOperation, string>> = {
  receive: 'receive, release',
  transmit: 'allocate, transmit',
  'transmit-fresh': `allocate, copy ${FRAME_LENGTH} bytes, transmit`,
};
const OPERATIONS = Object.keys(WORDS) as WholeOperation[];

interface Measured {
  readonly variant: string;
  readonly ringSize: number;
  readonly answer: RingAnswer;
}

function requestFor(variant: Variant, ringSize: number, { quick, rounds }: BenchContext): RingRequest {
  const all = DRAWN.includes(variant.name) && ringSize === RING_SIZE;
  const { packed, inOrder, mergeable } = variant;
  return {
    ...{ packed, inOrder, mergeable },
    queueSize: ringSize,
    frameLength: FRAME_LENGTH,
    bursts: all ? BURSTS : [BURST],
    repetitions: quick ? 3 : 2 * rounds + 1,
    frames: quick ? 100_000 : 1_000_000,
  };
}

function plan(quick: boolean): [Variant, number][] {
  const plain = VARIANTS.map((variant): [Variant, number] => [variant, RING_SIZE]);
  if (quick) return plain;
  const drawn = VARIANTS.filter(({ name }) => DRAWN.includes(name));
  const sizes = RING_SIZES.filter((size) => size !== RING_SIZE);
  return [...plain, ...sizes.flatMap((size) => drawn.map((variant): [Variant, number] => [variant, size]))];
}

async function measureAll(context: BenchContext): Promise<Measured[]> {
  const { quick, signal, steps } = context;
  const { driver: processor } = chooseProcessors();
  const runs = plan(quick);
  steps.expect(runs.length);
  const measured: Measured[] = [];
  for (const [variant, ringSize] of runs) {
    steps.begin(`${variant.name}, rings of ${ringSize}`);
    const request = requestFor(variant, ringSize, context);
    const answer = (await runProgram('ring-operations', request, { processor, signal })) as RingAnswer;
    measured.push({ variant: variant.name, ringSize, answer });
  }
  return measured;
}

/** Nanoseconds per frame. */
function cost({ answer }: Measured, operation: RingOperation, burst: number): Summary | undefined {
  const found = answer.figures.find((figure) => figure.operation === operation && figure.burst === burst);
  const summary = summarize(found?.nanoseconds ?? []);
  if (summary === undefined) return undefined;
  const { median, low, high, count } = summary;
  return { median: rounded(median), low: rounded(low), high: rounded(high), count };
}

const ofUsualSize = (measured: readonly Measured[]): Measured[] =>
  measured.filter(({ ringSize }) => ringSize === RING_SIZE);

function mainTable(measured: readonly Measured[]): Table {
  const rows = ofUsualSize(measured).map((each): Cell[] => [
    each.variant,
    ...OPERATIONS.flatMap((operation): Cell[] => {
      const summary = cost(each, operation, BURST);
      return summary === undefined ? [null, null] : [summary.median, `${summary.low} to ${summary.high}`];
    }),
  ]);
  const columns = OPERATIONS.flatMap((operation) => [
    { name: WORDS[operation], unit: 'ns per frame' },
    { name: 'lowest to highest', unit: 'ns per frame' },
  ]);
  return {
    title: `Bursts of ${BURST}, rings of ${RING_SIZE}`,
    columns: [{ name: 'ring' }, ...columns],
    rows,
  };
}

/** The middle cost of an operation less that of another one that is part of it. */
function without(each: Measured, operation: RingOperation, part: RingOperation): Cell {
  const [whole, less] = [cost(each, operation, BURST), cost(each, part, BURST)];
  return whole === undefined || less === undefined ? null : rounded(whole.median - less.median);
}

/** Where the time of a frame goes that is written and sent: by leaving out more and more of it. */
function partsTable(measured: readonly Measured[]): Table {
  return {
    title: 'Where the time of a frame goes that is written and sent',
    columns: [
      { name: 'ring' },
      { name: 'pool: a buffer taken and given back', unit: 'ns per frame' },
      { name: `copying ${FRAME_LENGTH} bytes into it`, unit: 'ns per frame' },
      { name: 'ring: check, describe, publish, reclaim', unit: 'ns per frame' },
      { name: 'all of it', unit: 'ns per frame' },
    ],
    rows: ofUsualSize(measured).map((each): Cell[] => [
      each.variant,
      cost(each, 'pool', BURST)?.median ?? null,
      without(each, 'write', 'pool'),
      without(each, 'transmit-fresh', 'write'),
      cost(each, 'transmit-fresh', BURST)?.median ?? null,
    ]),
  };
}

function barPlot(measured: readonly Measured[]): BarPlot {
  const plain = ofUsualSize(measured);
  return {
    kind: 'bars',
    title: 'The driver alone',
    unit: 'ns per frame',
    groups: plain.map(({ variant }) => variant),
    series: OPERATIONS.map((operation) => ({
      name: WORDS[operation],
      bars: plain.map((each) => {
        const summary = cost(each, operation, BURST);
        return summary === undefined ? null : { value: summary.median, low: summary.low, high: summary.high };
      }),
    })),
  };
}

type Point = readonly [number, number];

function point(x: number, summary: Summary | undefined): Point[] {
  return summary === undefined ? [] : [[x, summary.median]];
}

function drawLines(
  title: string,
  x: string,
  pointsOf: (variant: string, operation: WholeOperation) => Point[],
): LinePlot {
  const series = DRAWN.flatMap((variant) =>
    (['receive', 'transmit'] as const).map((operation) => ({
      name: `${variant}: ${WORDS[operation]}`,
      points: pointsOf(variant, operation),
    })),
  );
  return { kind: 'lines', title, unit: 'ns per frame', x: { name: x, scale: 'logarithmic' }, series };
}

function burstPlot(measured: readonly Measured[]): LinePlot {
  const plain = ofUsualSize(measured);
  return drawLines('By the size of the bursts', 'frames for each call', (name, operation) =>
    plain
      .filter(({ variant }) => variant === name)
      .flatMap((each) => BURSTS.flatMap((burst) => point(burst, cost(each, operation, burst)))),
  );
}

function sizePlot(measured: readonly Measured[]): LinePlot {
  return drawLines('By the size of the rings', 'descriptors', (name, operation) =>
    measured
      .filter(({ variant }) => variant === name)
      .toSorted((a, b) => a.ringSize - b.ringSize)
      .flatMap((each) => point(each.ringSize, cost(each, operation, BURST))),
  );
}

function describe(measured: readonly Measured[], quick: boolean): SectionResult {
  const [{ answer }] = measured;
  return {
    title: 'The driver alone',
    what:
      'The burst calls of the whole driver, with all checks and counters, polled, on one processor. The device is a model ' +
      'in the same thread that does nothing but what its rings ask of it, and that between two timed stretches: its work ' +
      'is not in the figures.',
    tables: [mainTable(measured), partsTable(measured)],
    plots: [barPlot(measured), burstPlot(measured), ...(quick ? [] : [sizePlot(measured)])],
    notes: [
      `Half a ring of frames is timed at a time; reading the clock costs ${rounded(answer.clock)} ns, which is taken off.`,
      'Everything lies in the caches of one processor. With a device on another processor it comes on top what it costs ' +
        'to get the lines of rings and buffers from there.',
      'Receiving takes a frame, gives it back to the pool, and posts a fresh buffer; transmitting takes a buffer from the ' +
        'pool, puts it into the ring, and takes back what the device has finished.',
      'The parts are differences of whole loops: of taking buffers and giving them back, of that with a frame copied into ' +
        'each, and of sending them. What the processor does at the same time for several of them counts where it ends.',
    ],
  };
}

export const ringOperations: Section = {
  name: 'ring-operations',
  title: 'The driver alone',
  seconds: ({ quick, rounds }) => plan(quick).length * (quick ? 1 : 1 + rounds),
  run: async (context) => describe(await measureAll(context), context.quick),
};
