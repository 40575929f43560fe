/** What a device costs apart from its frames. */
import { chooseProcessors } from '../lib/processors.js';
import { runProgram } from '../lib/run-program.js';
import { median, rounded } from '../lib/statistics.js';
import { withBackend } from '../lib/with-backend.js';
import type { FootprintAnswer, FootprintRequest } from '../programs/footprint.js';
import type { Cell, LinePlot, SectionResult } from '../result.js';
import type { BenchContext, Section } from '../section.js';

type Shape = Pick<FootprintRequest, 'queuePairs' | 'queueSize'>;

const PAIRS = [1, 2, 4, 8];
const SIZES = [64, 128, 256, 512, 1024];
const USUAL_SIZE = 256;
const REPETITIONS = 6;

function shapesOf(quick: boolean): Shape[] {
  const byPairs = PAIRS.map((queuePairs) => ({ queuePairs, queueSize: USUAL_SIZE }));
  const bySize = SIZES.filter((size) => size !== USUAL_SIZE).map((queueSize) => ({
    queuePairs: 1,
    queueSize,
  }));
  return quick ? byPairs.slice(0, 2) : [...byPairs, ...bySize];
}

interface Measured {
  readonly shape: Shape;
  readonly answer: FootprintAnswer;
}

async function measure({ quick, signal, steps }: BenchContext): Promise<Measured[]> {
  const processors = chooseProcessors();
  const shapes = shapesOf(quick);
  steps.expect(shapes.length);
  const measured: Measured[] = [];
  for (const shape of shapes) {
    steps.begin(`${shape.queuePairs} queue pairs of ${shape.queueSize}`);
    const backend = { forward: 'io', queues: shape.queuePairs, processors, signal } as const;
    const answer = await withBackend(backend, (socket) => {
      const request: FootprintRequest = { socket, ...shape, repetitions: quick ? 2 : REPETITIONS };
      const options = { processor: processors.driver, nodeOptions: ['--expose-gc'], signal };
      return runProgram('footprint', request, options);
    });
    measured.push({ shape, answer: answer as FootprintAnswer });
  }
  return measured;
}

/** The first time is that of a program that has just begun, and a case of its own. */
const again = (times: readonly number[]): number => rounded(median(times.slice(1)));

function rowOf({ shape, answer }: Measured): Cell[] {
  return [
    shape.queuePairs,
    shape.queueSize,
    rounded(answer.shared / 2 ** 20),
    rounded(answer.heap / 1024),
    rounded(answer.open[0] ?? 0),
    again(answer.open),
    again(answer.start),
    again(answer.stop),
    again(answer.close),
  ];
}

function memoryPlot(measured: readonly Measured[], x: string, of: (shape: Shape) => number): LinePlot {
  const sorted = measured.toSorted((a, b) => of(a.shape) - of(b.shape));
  return {
    kind: 'lines',
    title: `Memory by ${x}`,
    unit: 'MiB',
    x: { name: x, scale: 'logarithmic' },
    series: [
      {
        name: 'rings and buffers',
        points: sorted.map(({ shape, answer }) => [of(shape), rounded(answer.shared / 2 ** 20)]),
      },
      {
        name: 'JavaScript heap',
        points: sorted.map(({ shape, answer }) => [of(shape), rounded(answer.heap / 2 ** 20)]),
      },
    ],
  };
}

function plotsOf(measured: readonly Measured[]): LinePlot[] {
  const byPairs = measured.filter(({ shape }) => shape.queueSize === USUAL_SIZE);
  const bySize = measured.filter(({ shape }) => shape.queuePairs === 1);
  return [
    memoryPlot(byPairs, 'queue pairs', ({ queuePairs }) => queuePairs),
    ...(bySize.length > 1 ? [memoryPlot(bySize, 'descriptors of a ring', ({ queueSize }) => queueSize)] : []),
  ];
}

function describe(measured: readonly Measured[]): SectionResult {
  return {
    title: 'Memory, and time to open',
    what:
      'A device is opened, started, stopped and closed again over vhost-user, with DPDK’s testpmd as its backend; the last ' +
      'time it stays open, and what the process has grown by is looked at, behind a full garbage collection.',
    tables: [
      {
        title: 'By queue pairs and ring sizes',
        columns: [
          { name: 'queue pairs' },
          { name: 'descriptors of each ring' },
          { name: 'rings and buffers', unit: 'MiB' },
          { name: 'JavaScript heap', unit: 'KiB' },
          { name: 'first open', unit: 'ms' },
          { name: 'open', unit: 'ms' },
          { name: 'start', unit: 'ms' },
          { name: 'stop', unit: 'ms' },
          { name: 'close', unit: 'ms' },
        ],
        rows: measured.map(rowOf),
      },
    ],
    plots: plotsOf(measured),
    notes: [
      'Rings and buffers are memory that the backend, or a card, can reach; with a card it is locked, and counts against ' +
        'RLIMIT_MEMLOCK. By default there are four buffers for each descriptor of a ring, of 1600 bytes for an MTU of 1500.',
      'The first open of a program loads the native library and compiles what it runs, and the backend has just begun, too. ' +
        'Most of the other times is the backend answering.',
    ],
  };
}

export const footprint: Section = {
  name: 'footprint',
  title: 'Memory, and time to open',
  seconds: ({ quick }) => shapesOf(quick).length * 4,
  run: async (context) => describe(await measure(context)),
};
