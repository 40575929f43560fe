/** Looks at the distance of the processors beside what is measured, for sections that do not sort their figures by it. */
import { DistanceGauge } from './distance.js';
import { chooseProcessors } from './processors.js';

/** What was found out, and a sentence that says how far the processors were from each other meanwhile. */
export interface Gauged<Result> {
  readonly result: Result;
  readonly note: string;
}

/**
 * Lets something be measured, and says how far the processors were from each other.
 *
 * @param measure - looks at the distance now and then, by what it is given
 */
export async function withGauge<Result>(
  measure: (look: () => Promise<unknown>) => Promise<Result>,
): Promise<Gauged<Result>> {
  const gauge = new DistanceGauge(chooseProcessors());
  try {
    const result = await measure(() => gauge.classify());
    const note =
      `Before each trial, a cache line took ${gauge.describe()} from the one processor to the other; the figures are of ` +
      'whatever the distance was.';
    return { result, note };
  } finally {
    await gauge.close();
  }
}
