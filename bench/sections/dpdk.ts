/** The main table: this driver and DPDK's, on the same backend and the same processors, in turn. */
import { CASES, SHAPES, shapeName, SIZES, type RingShape, type TrafficCase } from '../dpdk/cases.js';
import { commandLines } from '../dpdk/commands.js';
import { Rig } from '../dpdk/rig.js';
import { plotsOf, tablesOf, type Measurement } from '../dpdk/tables.js';
import { findDpdk } from '../dpdk/testpmd.js';
import { DISTANCES, DistanceGauge } from '../lib/distance.js';
import { chooseProcessors, type Processors } from '../lib/processors.js';
import { measureRounds } from '../lib/rounds.js';
import type { SectionResult } from '../result.js';
import type { BenchContext, Section } from '../section.js';

/** What is measured in which shapes. */
interface Plan {
  readonly shapes: readonly RingShape[];
  readonly cases: readonly TrafficCase[];
  readonly sizes: readonly number[];
  readonly vectorized: boolean;
}

function planOf({ quick }: Pick<BenchContext, 'quick'>): Plan {
  if (!quick) return { shapes: SHAPES, cases: CASES, sizes: SIZES, vectorized: true };
  return {
    shapes: SHAPES.filter(({ mergeable }) => !mergeable),
    cases: CASES.filter(({ name }) => name !== 'loop'),
    sizes: [64],
    vectorized: false,
  };
}

const hasVectorized = ({ vectorized }: Plan, shape: RingShape): boolean => vectorized && !shape.mergeable;

/** Trials of one round of everything. */
function trialsPerRound(plan: Plan): number {
  const perShape = plan.shapes.map((shape) => {
    const peers = hasVectorized(plan, shape) ? 2 : 1;
    return plan.cases.reduce((sum, { ours }) => sum + ours.length + peers, 0);
  });
  return perShape.reduce((sum, trials) => sum + trials, 0) * plan.sizes.length;
}

/** Seconds of a trial, and of what it takes to get to the next case. */
const TRIAL_SECONDS = 0.7;
const CASE_SECONDS = 1.2;

export const dpdk: Section = {
  name: 'dpdk',
  title: 'Beside DPDK',
  quick: true,
  seconds: (context) => {
    const plan = planOf(context);
    const cases = plan.shapes.length * plan.cases.length * plan.sizes.length;
    return trialsPerRound(plan) * context.rounds * TRIAL_SECONDS + cases * CASE_SECONDS;
  },
  run,
};

/** What the parts of a run share. */
interface Run {
  readonly context: BenchContext;
  readonly plan: Plan;
  readonly dpdk: string;
  readonly processors: Processors;
  readonly gauge: DistanceGauge;
  readonly measurements: Measurement[];
  readonly paths: Set<string>;
  thrownAway: number;
}

async function run(context: BenchContext): Promise<SectionResult> {
  const plan = planOf(context);
  const { steps, signal, rounds } = context;
  steps.expect(trialsPerRound(plan) * rounds);
  const processors = chooseProcessors();
  const dpdk = await findDpdk((words) => steps.begin(words), signal);
  const gauge = new DistanceGauge(processors);
  const state: Run = {
    ...{ context, plan, dpdk, processors, gauge },
    ...{ measurements: [], paths: new Set<string>(), thrownAway: 0 },
  };
  try {
    for (const shape of plan.shapes) await measureShape(state, shape);
  } finally {
    await gauge.close();
  }
  return describe(state);
}

async function measureShape(state: Run, shape: RingShape): Promise<void> {
  const { plan, dpdk, processors, context, paths } = state;
  const vectorized = hasVectorized(plan, shape);
  const rig = await Rig.start({ dpdk, shape, vectorized, processors, signal: context.signal });
  try {
    for (const path of rig.paths) paths.add(`${shapeName(shape)} rings: ${path}`);
    for (const size of plan.sizes) {
      for (const traffic of plan.cases) await measureCase(state, rig, shape, traffic, size);
    }
  } finally {
    await rig.close();
  }
}

async function measureCase(
  state: Run,
  rig: Rig,
  shape: RingShape,
  traffic: TrafficCase,
  size: number,
): Promise<void> {
  const { context, gauge } = state;
  const drivers = await rig.prepare(traffic, size);
  // Once for nothing: code is compiled, memory touched.
  for (const driver of drivers) await rig.measure(driver);
  const { rounds, thrownAway } = await measureRounds(
    drivers.map((driver) => ({ name: driver.name, measure: () => rig.measure(driver) })),
    {
      rounds: context.rounds,
      classify: () => gauge.classify(),
      onTrial: (_, name) =>
        context.steps.begin(`${traffic.name}, ${size} bytes, ${shapeName(shape)}: ${name}`),
    },
  );
  state.thrownAway += thrownAway;
  state.measurements.push({ traffic, shape, size, rounds });
}

function describe({ plan, measurements, paths, thrownAway, processors }: Run): SectionResult {
  return {
    title: dpdk.title,
    what:
      "Frames per second between a driver and the vhost backend of DPDK's testpmd, each on a processor of its own, with " +
      'rings of 256 and in bursts of 32: this driver with all of its checks in a Node.js program, and the drivers of DPDK ' +
      'in testpmd, in turn on the same backend. The backend counts, in the same way for all.',
    tables: plan.sizes.flatMap((size) => tablesOf(measurements, size, DISTANCES)),
    plots: plan.sizes.flatMap((size) => plotsOf(measurements, size, DISTANCES)),
    notes: [
      ...NOTES,
      `${thrownAway} trials were thrown away, since the distance changed during them or during their round.`,
      ...(paths.size === 0
        ? []
        : [`Paths that DPDK has chosen, by its own words: ${[...paths].join('; ')}.`]),
    ],
    commands: commandLines(processors, plan.vectorized),
  };
}

const NOTES: readonly string[] = [
  'Each figure is the median of the rounds. Before and after each trial it is measured how long a cache line takes from ' +
    'the one processor to the other; near is less than 250 ns. Rounds of one table were measured at one distance from ' +
    'their first trial to their last. The ratio is the median of the ratios of the rounds: 1.00 is as fast as C.',
  'Counted are the frames that the backend has put into the ring of the driver (receive) or taken out of it (all others), ' +
    'for 0.3 s by the clock of testpmd, after 0.15 s of running in. In the case of receive the backend can not be ahead ' +
    'by more than a ring: it puts a frame only where the driver has given a buffer.',
  'Receive: the backend sends what it can, the driver takes it and gives the buffer back. Transmit: the driver sends what ' +
    'it can; DPDK takes a buffer from its pool and writes the headers into it for each frame, and so does this driver, 64 ' +
    'bytes, or else sends buffers as they are, in which the frame was written before. Forward: the backend generates ' +
    'frames (flowgen), the driver sends back what it receives, and what comes back is counted. Loop: frames go round ' +
    'between both, and neither makes or drops any; as many as the rings hold.',
];
