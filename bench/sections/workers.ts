/** Queue pairs in worker threads: throughput as pairs are added, while the main thread sleeps. */
import { chooseProcessors } from '../lib/processors.js';
import { runProgram } from '../lib/run-program.js';
import { median, rounded } from '../lib/statistics.js';
import { withBackend } from '../lib/with-backend.js';
import { withGauge, type Gauged } from '../lib/with-gauge.js';
import type { PairsAnswer, PairsRequest } from '../programs/pairs.js';
import type { Cell, LinePlot, SectionResult } from '../result.js';
import type { BenchContext, Section } from '../section.js';

type Way = Pick<PairsRequest, 'operation' | 'workers'>;

const OPERATIONS = ['receive', 'transmit'] as const;
const WORKERS = [1, 2, 3, 4];
const QUICK_WORKERS = [1, 2];
const BURST = 32;
const FRAME_LENGTH = 64;

const waysOf = (quick: boolean): Way[] =>
  OPERATIONS.flatMap((operation) =>
    (quick ? QUICK_WORKERS : WORKERS).map((workers) => ({ operation, workers })),
  );

interface Measured {
  readonly way: Way;
  readonly answers: readonly PairsAnswer[];
}

async function measure(
  { quick, rounds, signal, steps }: BenchContext,
  look: () => Promise<unknown>,
): Promise<Measured[]> {
  const processors = chooseProcessors();
  const measured = waysOf(quick).map((way) => ({ way, answers: [] as PairsAnswer[] }));
  const turns = quick ? 1 : rounds;
  const times = { warmUpSeconds: quick ? 0.2 : 0.5, seconds: quick ? 0.3 : 1 };
  steps.expect(turns * measured.length);
  for (let turn = 0; turn < turns; turn += 1) {
    for (const { way, answers } of measured) {
      await look();
      steps.begin(`${way.operation}, ${way.workers} workers`);
      const forward = way.operation === 'receive' ? 'txonly' : 'rxonly';
      const answer = await withBackend({ forward, queues: way.workers, processors, signal }, (socket) => {
        const shape = { packed: false, burst: BURST, frameLength: FRAME_LENGTH };
        const request: PairsRequest = { socket, ...way, ...shape, ...times };
        return runProgram('pairs', request, { processor: processors.driver, signal });
      });
      answers.push(answer as PairsAnswer);
    }
  }
  return measured;
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** Millions of frames for each second, of all workers. */
const total = ({ answers }: Measured): number =>
  rounded(median(answers.map(({ frames, seconds }) => sum(frames) / seconds / 1e6)));

/** Millions of frames for each second of processor time. */
const byProcessor = ({ answers }: Measured): number =>
  rounded(
    median(answers.map(({ frames, cpuSeconds }) => sum(frames) / Math.max(1e-9, sum(cpuSeconds)) / 1e6)),
  );

/** How unlike the shares of the workers are: the smallest over the largest. */
const fairness = ({ answers }: Measured): number =>
  rounded(median(answers.map(({ frames }) => Math.min(...frames) / Math.max(1, ...frames))));

/** Per cent of a processor that the process takes beside its workers: the main thread, and those of Node.js. */
const beside = ({ answers }: Measured): number =>
  rounded(
    median(
      answers.map(
        ({ processSeconds, cpuSeconds, seconds }) =>
          (Math.max(0, processSeconds - sum(cpuSeconds)) / seconds) * 100,
      ),
    ),
    2,
  );

function rowOf(measured: Measured, all: readonly Measured[]): Cell[] {
  const { operation, workers } = measured.way;
  const one = all.find(({ way }) => way.operation === operation && way.workers === 1);
  return [
    operation,
    workers,
    total(measured),
    byProcessor(measured),
    fairness(measured),
    beside(measured),
    one === undefined ? null : rounded(byProcessor(one) * workers),
  ];
}

function plotOf(all: readonly Measured[]): LinePlot {
  return {
    kind: 'lines',
    title: 'Workers on one processor',
    unit: 'million frames per second of processor time',
    x: { name: 'workers, each with a queue pair', scale: 'linear' },
    series: OPERATIONS.map((operation) => ({
      name: operation,
      points: all
        .filter(({ way }) => way.operation === operation)
        .map((each) => [each.way.workers, byProcessor(each)] as const),
    })),
  };
}

function describe({ result: all, note }: Gauged<Measured[]>): SectionResult {
  return {
    title: 'Queue pairs in workers',
    what:
      'Each worker thread receives or sends frames of 64 bytes over a queue pair of its own, polled, in bursts of 32, with split ' +
      'rings over vhost-user; the main thread sleeps. One processor runs all of the workers in turn, the other one DPDK’s ' +
      'testpmd, which serves all pairs.',
    tables: [
      {
        title: 'Two processors: one for the workers, one for the backend',
        columns: [
          { name: 'direction' },
          { name: 'workers' },
          { name: 'measured, all workers', unit: 'Mpps' },
          { name: 'for each second of processor time', unit: 'million frames' },
          { name: 'slowest worker over fastest' },
          { name: 'main thread and all else', unit: '% of a processor' },
          { name: 'reckoned, with a processor for each worker', unit: 'Mpps' },
        ],
        rows: all.map((each) => rowOf(each, all)),
      },
    ],
    plots: [plotOf(all)],
    notes: [
      'Two processors are all there is here, and the backend takes one of them: that more workers are faster was not measured. ' +
        'What was measured is that there is nothing between them to wait for: they share no lock and no message on the way ' +
        'of a frame.',
      'What the figures for each second of processor time lose with more workers goes into switching between threads, whose ' +
        'rings and buffers push each other out of the cache, and into the time that frames wait while a worker does not run. ' +
        'With a processor for each worker there is neither.',
      'The last column is the first one multiplied, for as long as the backend keeps up: it needs processors of its own, too.',
      note,
    ],
  };
}

export const workers: Section = {
  name: 'workers',
  title: 'Queue pairs in workers',
  seconds: ({ quick, rounds }) => waysOf(quick).length * (quick ? 3 : 4 * rounds),
  run: async (context) => describe(await withGauge((look) => measure(context, look))),
};
