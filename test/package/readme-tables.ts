/** The tables of README.md that are made from the source. */
import { format, resolveConfig } from 'prettier';
import { ERROR_CATALOGUE } from '../../src/errors.js';
import { FEATURE_NAMES, featureEntry, type FeatureName, type Support } from '../../src/net/feature-table.js';
import { README } from './readme.js';

/** Each table by the name of its markers. */
export const TABLES: Readonly<Record<string, () => string>> = { errors, features };

/** A table as it stands in README.md. */
export async function renderTable(name: string): Promise<string> {
  const config = await resolveConfig(README);
  return `\n${await format(TABLES[name](), { ...config, parser: 'markdown' })}\n`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, head.map(() => '---'), ...rows];
  return lines.map((cells) => `| ${cells.map(cell).join(' | ')} |`).join('\n');
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
}

function errors(): string {
  const rows = Object.entries(ERROR_CATALOGUE).map(([code, { meaning, remedy }]) => [
    `\`${code}\``,
    meaning,
    remedy,
  ]);
  return table(['Code', 'What it means', 'What to do'], rows);
}

const USED: Readonly<Record<Exclude<Support, 'unsupported'>, string>> = {
  required: 'needs it',
  wanted: 'uses it where it is offered',
};

function features(): string {
  const rows = Object.entries(USED).flatMap(([support, use]) =>
    featuresThatAre(support as Support).map((name) => [`\`${name}\``, featureEntry(name).about, use]),
  );
  const others = featuresThatAre('unsupported').map((name) => `\`${name}\``);
  const used = table(['Feature', 'What it says', 'This driver'], rows);
  return `${used}\n\nNot negotiated yet: ${others.join(', ')}.\n`;
}

function featuresThatAre(support: Support): FeatureName[] {
  return FEATURE_NAMES.filter((name) => featureEntry(name).support === support);
}
