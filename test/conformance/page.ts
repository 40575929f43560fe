/** Writes `docs/conformance.md`. */
import { inRepository } from '../vm/paths.js';
import { answerAll, type Answer } from './answers.js';
import { readProofs, type Proof } from './proofs.js';
import { CATEGORIES, readReasons, type Category, type Reason } from './reasons.js';
import { readStatements } from './statements.js';

export const PAGE_FILE = inRepository('docs', 'conformance.md');

/** Headings of the parts, by the first word of an id. */
const AREAS: Readonly<Record<string, string>> = {
  core: 'Every device',
  split: 'Split virtqueues',
  packed: 'Packed virtqueues',
  pci: 'PCI transport',
  net: 'Network device',
};

/** The page as it should be. @throws Error where a statement has no good answer */
export function renderPage(): string {
  const { source, statements } = readStatements();
  return render(source, answerAll(statements, readProofs(), readReasons()));
}

export function render(source: string, answers: readonly Answer[]): string {
  const parts = [...groupBy(answers, ({ statement }) => statement.id.split('/')[0])];
  return `${[head(source, answers), ...parts.map(([area, group]) => renderArea(area, group))].join('\n\n')}\n`;
}

function head(source: string, answers: readonly Answer[]): string {
  const count = (category: Category): number =>
    answers.filter(({ reason }) => reason?.category === category).length;
  const proved = answers.filter(({ proofs }) => proofs.length > 0).length;
  const answered = answers.filter(({ proofs, reason }) => proofs.length > 0 || reason !== undefined).length;
  const categories = Object.keys(CATEGORIES) as Category[];
  return [
    '# Conformance',
    `What the specification says of a driver, and how this driver is known to do it. The list: ${escape(source)}.`,
    'This page is made by `npm run docs:conformance` from the comments of the tests (`// Proves: ID`) and from' +
      ' [spec/not-proved.json](spec/not-proved.json); a test fails where it is out of date.',
    `**${answered} of ${answers.length} statements are answered**:`,
    [
      `- ${proved} **proved**: by the tests that are named`,
      ...categories
        .filter((category) => count(category) > 0)
        .map((category) => `- ${count(category)} **${category}**: ${CATEGORIES[category]}`),
    ].join('\n'),
  ].join('\n\n');
}

function renderArea(area: string, answers: readonly Answer[]): string {
  const sections = [...groupBy(answers, ({ statement }) => statement.section)];
  return [
    `## ${AREAS[area] ?? area}`,
    ...sections.flatMap(([section, group]) => [`### ${section.trim()}`, renderTable(group)]),
  ].join('\n\n');
}

function renderTable(answers: readonly Answer[]): string {
  const rows = answers.map(({ statement: { id, level, text }, proofs, reason }) => [
    `\`${id}\``,
    level,
    escape(text),
    reason === undefined ? proofs.map(renderProof).join('<br>') : renderReason(reason),
  ]);
  const lines = [['Statement', 'Level', 'Text', 'Answer'], ['---', '---', '---', '---'], ...rows];
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

function renderProof({ file, titles }: Proof): string {
  return `[${file}](../${file}): ${escape(titles.join(' › '))}`;
}

function renderReason({ category, features = [], why }: Reason): string {
  const named = features.length === 0 ? '' : ` (${features.map((name) => `\`${name}\``).join(', ')})`;
  return `**${category}**${named}: ${escape(why)}`;
}

/** Text that is not meant as Markdown. */
function escape(text: string): string {
  return text
    .replaceAll(/[\\`*|$]/g, '\\$&')
    .replaceAll('<', '&lt;')
    .replaceAll('\n', ' ');
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group === undefined) groups.set(keyOf(item), [item]);
    else group.push(item);
  }
  return groups;
}
