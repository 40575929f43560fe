/** The tables of README.md that are made from the source. */
import { readFileSync } from 'node:fs';
import { format, resolveConfig } from 'prettier';
import { ERROR_CATALOGUE } from '../../src/errors.js';
import { FEATURE_NAMES, featureEntry, type Support } from '../../src/net/feature-table.js';
import { readResults } from '../../bench/report/files.js';
import { renderSummary } from '../../bench/report/summary.js';
import { inRepository } from '../vm/paths.js';
import { README } from './readme.js';

/** Each table by the name of its markers. */
export const TABLES: Readonly<Record<string, () => string>> = { performance, errors, features };

/** A table as it stands in README.md. */
export async function renderTable(name: string): Promise<string> {
  const config = await resolveConfig(README);
  const text = TABLES[name]();
  if (text === '') return '\n';
  return `\n${await format(text, { ...config, parser: 'markdown' })}\n`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, head.map(() => '---'), ...rows];
  return lines.map((cells) => `| ${cells.map(cell).join(' | ')} |`).join('\n');
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
}

function performance(): string {
  return renderSummary(readResults());
}

function errors(): string {
  const rows = Object.entries(ERROR_CATALOGUE).map(([code, { meaning, remedy }]) => [
    `\`${code}\``,
    meaning,
    remedy,
  ]);
  return table(['Code', 'What it means', 'What to do'], rows);
}

const USE: Readonly<Record<Exclude<Support, 'unsupported'>, string>> = {
  required: 'needs it',
  wanted: 'uses it where it is offered',
  optional: 'uses it where the program asks for it',
};

/** What was negotiated with devices that others wrote: `docs/negotiated.json`. */
export interface NegotiatedElsewhere {
  readonly qemu: readonly string[];
  readonly 'dpdk-vhost': readonly string[];
}

export function readNegotiated(): NegotiatedElsewhere {
  return JSON.parse(readFileSync(inRepository('docs', 'negotiated.json'), 'utf8')) as NegotiatedElsewhere;
}

function features(): string {
  const elsewhere = readNegotiated();
  const was = (names: readonly string[], name: string): string => (names.includes(name) ? 'yes' : '');
  const rows = FEATURE_NAMES.map((name) => {
    const entry = featureEntry(name);
    const use = entry.support === 'unsupported' ? `no: ${entry.why}` : USE[entry.support];
    return [`\`${name}\``, entry.about, use, was(elsewhere.qemu, name), was(elsewhere['dpdk-vhost'], name)];
  });
  return table(['Feature', 'What it says', 'This driver', 'QEMU 7.2', 'DPDK vhost'], rows);
}
