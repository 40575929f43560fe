/**
 * What a section of the benchmark found out: plain JSON, and all that docs/performance.md and its plots are made of.
 */

/** One cell: a figure in the unit of its column, words, or nothing where nothing was measured. */
export type Cell = number | string | null;

export interface Column {
  readonly name: string;
  readonly unit?: string;
}

export interface Table {
  readonly title: string;
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly Cell[])[];
}

/** One bar: a figure, and how far the rounds that it is the median of went. */
export interface Bar {
  readonly value: number;
  readonly low?: number;
  readonly high?: number;
}

/** Bars side by side in groups, one of each series in every group; null where there is none. */
export interface BarPlot {
  readonly kind: 'bars';
  readonly title: string;
  readonly unit: string;
  readonly groups: readonly string[];
  readonly series: readonly { readonly name: string; readonly bars: readonly (Bar | null)[] }[];
}

/** Lines over a number, such as the size of a burst. */
export interface LinePlot {
  readonly kind: 'lines';
  readonly title: string;
  readonly unit: string;
  readonly x: { readonly name: string; readonly scale: 'linear' | 'logarithmic' };
  /** Logarithmic where the figures span orders of magnitude; linear, and from 0 on, by default. */
  readonly scale?: 'linear' | 'logarithmic';
  readonly series: readonly {
    readonly name: string;
    readonly points: readonly (readonly [number, number])[];
  }[];
}

export type Plot = BarPlot | LinePlot;

/** What single rounds gave, in their order: the figures that medians and ranges are of. */
export interface Sample {
  readonly name: string;
  readonly unit: string;
  readonly values: readonly number[];
}

/** A command line that was run, so that a reader can run it too. */
export interface Command {
  readonly name: string;
  readonly line: string;
}

export interface SectionResult {
  readonly title: string;
  /** What was measured and how, in a sentence or two. */
  readonly what: string;
  readonly tables: readonly Table[];
  readonly plots: readonly Plot[];
  /** What a reader has to know of the figures: what limits them, what was thrown away, what could not be measured. */
  readonly notes: readonly string[];
  readonly commands?: readonly Command[];
  /** Not shown on the page. */
  readonly samples?: readonly Sample[];
}

/** What was measured: of the commit alone where `changed` is false. */
export interface Measured {
  readonly version: string;
  /** Abbreviated; undefined outside of a repository. */
  readonly commit?: string;
  /** Whether what is measured, or what measures it, differed from that commit. */
  readonly changed: boolean;
  readonly dpdk?: string;
  readonly koffi: string;
}

/** The machine that it ran on, and the version of Node.js. */
export interface Machine {
  readonly processor: string;
  readonly processors: number;
  readonly memoryGigabytes: number;
  readonly kernel: string;
  readonly system: string;
  readonly node: string;
  readonly v8: string;
}

/** A section with the circumstances of its run: it may be newer than its neighbours. */
export interface RecordedSection extends SectionResult {
  readonly date: string;
  readonly rounds: number;
  readonly seconds: number;
  readonly machine: Machine;
  readonly measured: Measured;
}

/** `bench/results.json`. */
export interface Results {
  readonly sections: Readonly<Record<string, RecordedSection>>;
}
