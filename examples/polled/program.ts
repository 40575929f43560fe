/** What the polled examples have in common: how they read their options, and how they end. */

/**
 * Runs a program until it is done or interrupted. What goes wrong is said in one line, with status 2.
 *
 * @param run - gets a signal that Ctrl-C aborts, and gives its devices back when it sees that
 */
export async function program(name: string, run: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => controller.abort());
  // Whoever read our output has gone.
  process.stdout.on('error', () => controller.abort());
  try {
    await run(controller.signal);
  } catch (error) {
    if (controller.signal.aborted && error === controller.signal.reason) return;
    process.stderr.write(`${name}: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 2;
  }
}

/** The devices that a command line names: from 1 to `most`. */
export function deviceNames(words: readonly string[], most: number, usage: string): readonly string[] {
  if (words.length >= 1 && words.length <= most) return words;
  throw new Error(`usage: ${usage}`);
}

/** How much a program does, at a time and in all. */
export interface Limits {
  /** Frames in one call at most. */
  readonly burst: number;
  /** Frames in all; Infinity to go on until interrupted. */
  readonly count: number;
}

/** The options of a program that polls, for `parseArgs()`. */
export const LIMITS = { burst: { type: 'string' }, count: { type: 'string' } } as const;

export function readLimits({ burst = '32', count }: Partial<Record<keyof Limits, string>>): Limits {
  return {
    burst: wholeNumber('burst', burst, 1, 1024),
    count: count === undefined ? Infinity : wholeNumber('count', count, 1, Number.MAX_SAFE_INTEGER),
  };
}

/** The value of an option that is a whole number. */
export function wholeNumber(name: string, text: string, least: number, most: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (value >= least && value <= most) return value;
  throw new Error(`--${name} '${text}' is not a whole number from ${least} to ${most}`);
}
