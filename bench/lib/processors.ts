/** The two processors that everything runs on: one for the driver, one for its backend. */
import { readFileSync } from 'node:fs';
import { BenchError } from '../bench-error.js';

export interface Processors {
  /** Runs the driver that is measured. */
  readonly driver: number;
  /** Runs what generates, takes or returns its frames. */
  readonly backend: number;
}

/** The numbers in a list as the kernel writes it: `0-3,8`. */
export function parseProcessorList(text: string): number[] {
  return text
    .trim()
    .split(',')
    .filter((part) => part !== '')
    .flatMap((part) => {
      const [first, last = first] = part.split('-').map(Number);
      return Array.from({ length: last - first + 1 }, (_, index) => first + index);
    });
}

/**
 * The first two processors that this process may run on.
 *
 * @throws BenchError if there is one only
 */
export function chooseProcessors(): Processors {
  const status = readFileSync('/proc/self/status', 'utf8');
  const allowed = parseProcessorList(/^Cpus_allowed_list:\s*(.*)$/m.exec(status)?.[1] ?? '');
  const [driver, backend] = allowed;
  if (allowed.length < 2) {
    throw new BenchError('The benchmark needs two processors: one for the driver, one for its backend.');
  }
  return { driver, backend };
}
