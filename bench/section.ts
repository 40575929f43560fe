/** What a part of the benchmark is given, and what it is. */
import type { SectionResult } from './result.js';

/** How far a section has got; the frame tells the terminal. */
export interface Steps {
  /** How many steps the section has in all: told once it knows, and again where that changes. */
  expect(count: number): void;
  /** A step begins: its words say which. The step before it has ended. */
  begin(words: string): void;
}

export interface BenchContext {
  /** The short form: what shows in seconds that everything works, and roughly the figures. */
  readonly quick: boolean;
  /** How often each thing is measured. */
  readonly rounds: number;
  /** Ends the run: whatever a section waits for has to end with it. */
  readonly signal: AbortSignal;
  readonly steps: Steps;
}

export interface Section {
  /** By which `--only` finds it, and its key in the results: words in small letters, with hyphens between. */
  readonly name: string;
  readonly title: string;
  /** Whether it is part of a `--quick` run. */
  readonly quick?: boolean;
  /** About how many seconds it takes, for the estimate of what is left. */
  readonly seconds: (context: Pick<BenchContext, 'quick' | 'rounds'>) => number;
  readonly run: (context: BenchContext) => Promise<SectionResult>;
}
