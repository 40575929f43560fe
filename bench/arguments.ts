/** The command line of `npm run bench`. */
import { parseArgs } from 'node:util';
import { BenchError } from './bench-error.js';

export const USAGE = `Usage: npm run bench -- [options]

Measures this driver beside its peers, writes bench/results.json, and from that docs/performance.md with its plots,
and the table of README.md.

  --quick        the main table alone, in under two minutes; saves nothing
  --only WORDS   only sections whose name contains these words; again for others
  --rounds N     how often each thing is measured: 5 by default
  --list         the names of the sections, without running them
  --no-save      prints the results, and leaves the files as they are
  --output FILE  writes the results to this file instead
  --render       makes these documents anew from bench/results.json, without measuring
`;

const DEFAULT_ROUNDS = 5;
const MOST_ROUNDS = 101;

export interface BenchArguments {
  readonly quick: boolean;
  readonly only: readonly string[];
  readonly rounds: number;
  readonly save: boolean;
  /** Where else the results go. */
  readonly output: string | undefined;
  readonly action: 'run' | 'list' | 'render' | 'help';
}

const OPTIONS = {
  quick: { type: 'boolean', default: false },
  only: { type: 'string', multiple: true, default: [] as string[] },
  rounds: { type: 'string', default: String(DEFAULT_ROUNDS) },
  list: { type: 'boolean', default: false },
  output: { type: 'string' },
  'no-save': { type: 'boolean', default: false },
  render: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

/** @throws BenchError for what can not be understood */
export function parseArguments(words: readonly string[]): BenchArguments {
  const values = readOptions(words);
  const rounds = Number(values.rounds);
  if (!/^\d+$/.test(values.rounds) || rounds < 1 || rounds > MOST_ROUNDS) {
    throw new BenchError(
      `--rounds is ${values.rounds}. Give a whole number from 1 to ${MOST_ROUNDS}.\n\n${USAGE}`,
    );
  }
  const { quick, only, output, help, list, render } = values;
  return {
    quick,
    only,
    rounds,
    // The figures of a short run are not those to publish.
    save: !values['no-save'] && !quick && output === undefined,
    output,
    action: help ? 'help' : list ? 'list' : render ? 'render' : 'run',
  };
}

function readOptions(
  words: readonly string[],
): ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>>['values'] {
  try {
    return parseArgs({ args: [...words], options: OPTIONS }).values;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new BenchError(`${error.message}\n\n${USAGE}`, error);
  }
}
