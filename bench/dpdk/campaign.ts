/** A plan carried out: each case in each shape, at the distance that the machine has, and then what is missing. */
import { setTimeout as sleep } from 'node:timers/promises';
import { DISTANCES, type Distance, type DistanceGauge } from '../lib/distance.js';
import type { Processors } from '../lib/processors.js';
import { measureRounds, type Round } from '../lib/rounds.js';
import type { BenchContext } from '../section.js';
import { shapeName, type RingShape, type TrafficCase } from './cases.js';
import { hasVectorized, type Plan } from './plan.js';
import { Rig } from './rig.js';

/** What the rounds of one case in one shape have given. */
export interface Measurement {
  readonly traffic: TrafficCase;
  readonly shape: RingShape;
  readonly size: number;
  readonly rounds: Record<Distance, Round[]>;
}

export interface CampaignOptions {
  readonly context: BenchContext;
  readonly plan: Plan;
  /** The folder that DPDK is in. */
  readonly dpdk: string;
  readonly processors: Processors;
  readonly gauge: DistanceGauge;
}

/** At which everything shall be measured, if the machine gets there. */
const WANTED: readonly Distance[] = ['near', 'far'];

/** Rounds of a quick run beyond those that were asked for, where some of them fail. */
const SPARE_ROUNDS = 3;

/** Milliseconds between two looks at the distance while another one is waited for. */
const LOOK_EVERY = 2000;

export class Campaign {
  readonly measurements: Measurement[];
  /** What DPDK has said of the paths that its drivers have chosen. */
  readonly paths = new Set<string>();
  thrownAway = 0;
  /** Trials that were repeated since they were counted too late, or no frame was counted. */
  repeated = 0;
  private readonly options: CampaignOptions;

  constructor(options: CampaignOptions) {
    this.options = options;
    const { shapes, sizes, cases } = options.plan;
    this.measurements = shapes.flatMap((shape) =>
      sizes.flatMap((size) =>
        cases.map((traffic) => ({ traffic, shape, size, rounds: { near: [], between: [], far: [] } })),
      ),
    );
  }

  async run(): Promise<void> {
    for (const shape of this.options.plan.shapes) {
      await this.measure(
        this.measurements.filter((each) => each.shape === shape),
        undefined,
      );
    }
    await this.complete();
  }

  /** Measures at each distance what lacks rounds there, whenever the machine has it, until the patience ends. */
  private async complete(): Promise<void> {
    const { gauge, plan, context } = this.options;
    const deadline = performance.now() + 1000 * plan.patience;
    while (performance.now() < deadline && WANTED.some((distance) => this.lacking(distance).length > 0)) {
      const distance = await gauge.classify();
      const lacking = WANTED.includes(distance) ? this.lacking(distance) : [];
      if (lacking.length > 0) {
        const [{ shape }] = lacking;
        await this.measure(
          lacking.filter((each) => each.shape === shape),
          distance,
        );
      } else {
        context.steps.begin(
          `waiting for the processors to be ${WANTED.filter((each) => this.lacking(each).length > 0).join(' or ')}`,
        );
        await sleep(LOOK_EVERY, undefined, { signal: context.signal });
      }
    }
  }

  private lacking(distance: Distance): Measurement[] {
    return this.measurements.filter(({ rounds }) => rounds[distance].length < this.options.context.rounds);
  }

  /**
   * Measures some of the same shape: all that is given, or, for one distance, as long as that holds.
   */
  private async measure(measurements: readonly Measurement[], wanted: Distance | undefined): Promise<void> {
    const { plan, dpdk, processors, context, gauge } = this.options;
    const [{ shape }] = measurements;
    const vectorized = hasVectorized(plan, shape);
    const rig = await Rig.start({ dpdk, shape, vectorized, processors, signal: context.signal });
    try {
      for (const path of rig.paths) this.paths.add(`${shapeName(shape)} rings, ${path}`);
      for (const measurement of measurements) {
        if (wanted !== undefined && (await gauge.classify()) !== wanted) return;
        await this.measureOne(rig, measurement, wanted);
      }
    } finally {
      this.repeated += rig.repeated;
      await rig.close();
    }
  }

  private async measureOne(
    rig: Rig,
    { traffic, shape, size, rounds }: Measurement,
    wanted: Distance | undefined,
  ): Promise<void> {
    const { context, gauge } = this.options;
    const words = `${traffic.name}, ${size} bytes, ${shapeName(shape)}`;
    const drivers = await rig.prepare(traffic, size);
    // Once for nothing: code is compiled, memory touched.
    for (const driver of drivers) await rig.warmUp(driver);
    const lacking = context.rounds - (wanted === undefined ? 0 : rounds[wanted].length);
    const measured = await measureRounds(
      drivers.map((driver) => ({ name: driver.name, measure: () => rig.measure(driver) })),
      {
        rounds: lacking,
        // A machine that goes elsewhere meanwhile is waited for, not measured at length.
        ...(wanted === undefined ? {} : { most: lacking, wanted }),
        // Who is in a hurry rather has fewer rounds.
        ...(context.quick ? { most: lacking + SPARE_ROUNDS } : {}),
        classify: () => gauge.classify(),
        onTrial: (_, name) => context.steps.begin(`${words}: ${name}`),
      },
    );
    this.thrownAway += measured.thrownAway;
    for (const distance of DISTANCES) rounds[distance].push(...measured.rounds[distance]);
  }
}
