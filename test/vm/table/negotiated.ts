/** What was negotiated with devices that others wrote: `docs/negotiated.json`, which the README's table shows. */
import { readFileSync, writeFileSync } from 'node:fs';
import { inRepository } from '../paths.js';
import type { RowResult } from './run-boot.js';

const PATH = inRepository('docs', 'negotiated.json');

export interface Negotiated {
  readonly qemu: readonly string[];
  readonly 'dpdk-vhost': readonly string[];
}

function featuresOf(results: readonly RowResult[]): string[] {
  const lists = results.flatMap(({ checks }) =>
    checks
      .filter(({ check, passed }) => check === 'features' && passed)
      .map(({ figures }) => String(figures.negotiated).split(' ')),
  );
  return [...new Set(lists.flat())].sort();
}

/** What at least one device of each kind negotiated. */
export function negotiatedOf(results: readonly RowResult[]): Negotiated {
  const isDpdk = ({ row }: RowResult): boolean => row.machine === 'dpdk';
  return {
    qemu: featuresOf(results.filter((result) => !isDpdk(result))),
    'dpdk-vhost': featuresOf(results.filter(isDpdk)),
  };
}

export function readNegotiated(): Negotiated {
  return JSON.parse(readFileSync(PATH, 'utf8')) as Negotiated;
}

export function saveNegotiated(negotiated: Negotiated): void {
  writeFileSync(PATH, `${JSON.stringify(negotiated, undefined, 2)}\n`);
}
