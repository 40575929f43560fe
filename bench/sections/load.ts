/** What processor time frames take: polled, and with interrupts. */
import { chooseProcessors } from '../lib/processors.js';
import { runProgram } from '../lib/run-program.js';
import { median, rounded } from '../lib/statistics.js';
import { withBackend } from '../lib/with-backend.js';
import { withGauge, type Gauged } from '../lib/with-gauge.js';
import type { LoadAnswer, LoadRequest } from '../programs/load.js';
import type { Cell, LinePlot, SectionResult } from '../result.js';
import type { BenchContext, Section } from '../section.js';

type Way = Pick<LoadRequest, 'packed' | 'mode' | 'framesPerMillisecond'>;

const MODES = ['polled', 'interrupts'] as const;
const RATES = [1, 10, 50, 100, 200, 400];
const QUICK_RATES = [10, 100];
const FRAME_LENGTH = 64;

const waysOf = (quick: boolean): Way[] =>
  MODES.flatMap((mode) =>
    (quick ? QUICK_RATES : RATES).map((framesPerMillisecond) => ({
      packed: false,
      mode,
      framesPerMillisecond,
    })),
  );

interface Measured {
  readonly way: Way;
  readonly answers: readonly LoadAnswer[];
}

async function measure(
  { quick, rounds, signal, steps }: BenchContext,
  look: () => Promise<unknown>,
): Promise<Measured[]> {
  const processors = chooseProcessors();
  const measured = waysOf(quick).map((way) => ({ way, answers: [] as LoadAnswer[] }));
  const turns = quick ? 1 : rounds;
  const times = { warmUpSeconds: quick ? 0.2 : 0.5, seconds: quick ? 0.3 : 1 };
  steps.expect(turns * measured.length);
  await withBackend({ forward: 'io', processors, signal }, async (socket) => {
    for (let turn = 0; turn < turns; turn += 1) {
      for (const { way, answers } of measured) {
        await look();
        steps.begin(`${way.mode}, ${way.framesPerMillisecond} frames each millisecond`);
        const request: LoadRequest = { socket, ...way, frameLength: FRAME_LENGTH, ...times };
        const options = { processor: processors.driver, signal };
        answers.push((await runProgram('load', request, options)) as LoadAnswer);
      }
    }
  });
  return measured;
}

/** Of a processor, in per cent. */
const use = ({ answers }: Measured): number =>
  rounded(median(answers.map(({ cpuSeconds, seconds }) => (cpuSeconds / seconds) * 100)));

function rowOf(measured: Measured): Cell[] {
  const { way, answers } = measured;
  const middle = (of: (answer: LoadAnswer) => number): number => rounded(median(answers.map(of)));
  return [
    way.mode,
    way.framesPerMillisecond * 1000,
    middle(({ frames, seconds }) => frames / seconds),
    use(measured),
    middle(({ cpuSeconds, frames }) => (cpuSeconds * 1e6) / Math.max(1, frames)),
  ];
}

function plotOf(measured: readonly Measured[]): LinePlot {
  return {
    kind: 'lines',
    title: 'Processor time by rate',
    unit: '% of a processor',
    x: { name: 'frames per second', scale: 'logarithmic' },
    series: MODES.map((mode) => ({
      name: mode,
      points: measured
        .filter(({ way }) => way.mode === mode)
        .map((each) => [each.way.framesPerMillisecond * 1000, use(each)] as const),
    })),
  };
}

function describe({ result: measured, note }: Gauged<Measured[]>): SectionResult {
  return {
    title: 'Processor time',
    what:
      'A program sends so many frames of 64 bytes each millisecond through DPDK’s testpmd, on another processor, and takes ' +
      'what comes back: in a loop that never rests, or as events, asleep in between. Sending, receiving and the timer of the ' +
      'program are all in the figures.',
    tables: [
      {
        title: 'Split rings of 1024',
        columns: [
          { name: 'the program' },
          { name: 'sends', unit: 'frames per second' },
          { name: 'gets back', unit: 'frames per second' },
          { name: 'processor', unit: '%' },
          { name: 'processor time', unit: 'µs per frame' },
        ],
        rows: measured.map(rowOf),
      },
    ],
    plots: [plotOf(measured)],
    notes: [
      'Who polls has a processor for it in any case; the time for each frame says only what it is divided by. What polling ' +
        'costs at full rate is in the section of the driver alone.',
      note,
    ],
  };
}

export const load: Section = {
  name: 'load',
  title: 'Processor time',
  seconds: ({ quick, rounds }) => 3 + waysOf(quick).length * (quick ? 1 : 2 * rounds),
  run: async (context) => describe(await withGauge((look) => measure(context, look))),
};
