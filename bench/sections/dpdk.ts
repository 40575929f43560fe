/** This driver and DPDK's, on the same backend and the same processors, in turn: the main table, and larger frames. */
import { Campaign } from '../dpdk/campaign.js';
import { commandLines } from '../dpdk/commands.js';
import { NOTES } from '../dpdk/notes.js';
import { estimateSeconds, planOf, trialsPerRound } from '../dpdk/plan.js';
import { lackingNotes, plotsOf, samplesOf, tablesOf, timeTables } from '../dpdk/tables.js';
import { findDpdk } from '../dpdk/testpmd.js';
import { DistanceGauge } from '../lib/distance.js';
import { chooseProcessors } from '../lib/processors.js';
import type { SectionResult } from '../result.js';
import type { BenchContext, Section } from '../section.js';

const WHAT =
  "Frames per second between a driver and the vhost backend of DPDK's testpmd, each on a processor of its own, with " +
  'rings of 256 and in bursts of 32: this driver with all of its checks in a Node.js program, and the drivers of DPDK ' +
  'in testpmd, in turn on the same backend. The backend counts, in the same way for all.';

interface Kind {
  readonly title: string;
  readonly what: string;
  readonly notes: readonly string[];
  readonly sizes: readonly number[];
  /** Seconds to wait for the other distance. */
  readonly patience: number;
  readonly showCommands: boolean;
}

const MAIN: Kind = {
  title: 'Beside DPDK',
  what: WHAT,
  notes: NOTES,
  sizes: [64],
  patience: 240,
  showCommands: true,
};

const LARGE: Kind = {
  title: 'Beside DPDK, larger frames',
  what: 'The same with frames of 512 and 1514 bytes, which the backend has to copy.',
  notes: [],
  sizes: [512, 1514],
  patience: 0,
  showCommands: false,
};

export const dpdk: Section = sectionOf('dpdk', MAIN, true);
export const dpdkLarge: Section = sectionOf('dpdk-large', LARGE, false);

function sectionOf(name: string, kind: Kind, quick: boolean): Section {
  return {
    ...{ name, title: kind.title, quick },
    seconds: (context) => estimateSeconds(planOf(context, kind.sizes, kind.patience), context.rounds),
    run: (context) => run(context, kind),
  };
}

async function run(context: BenchContext, kind: Kind): Promise<SectionResult> {
  const plan = planOf(context, kind.sizes, kind.patience);
  const { steps, signal, rounds } = context;
  steps.expect(trialsPerRound(plan) * rounds);
  const processors = chooseProcessors();
  const folder = await findDpdk((words) => steps.begin(words), signal);
  const gauge = new DistanceGauge(processors);
  const campaign = new Campaign({ context, plan, dpdk: folder, processors, gauge });
  try {
    await campaign.run();
  } finally {
    await gauge.close();
  }
  const { measurements, thrownAway, repeated, paths } = campaign;
  return {
    title: kind.title,
    what: kind.what,
    tables: [
      ...plan.sizes.flatMap((size) => tablesOf(measurements, size, rounds)),
      ...plan.sizes.flatMap((size) => timeTables(measurements, size, rounds)),
    ],
    plots: plan.sizes.flatMap((size) => plotsOf(measurements, size, rounds)),
    notes: [
      ...kind.notes,
      `A cache line took ${gauge.describe()} from the one processor to the other. ${thrownAway} trials were thrown ` +
        `away, since that changed during them or during their round${repeated === 0 ? '' : `, and ${repeated} repeated, in which the busy machine was too late to count, or no frame was counted`}.`,
      ...lackingNotes(measurements, rounds),
      ...(paths.size === 0
        ? []
        : [`Paths that DPDK has chosen, by its own words: ${[...paths].join('; ')}.`]),
    ],
    samples: samplesOf(measurements),
    ...(kind.showCommands ? { commands: commandLines(processors, plan.vectorized) } : {}),
  };
}
