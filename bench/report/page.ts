/** docs/performance.md: sections made from the results, each between markers, around what was written by hand. */
import type { Machine, Measured, Plot, RecordedSection, Results, Table } from '../result.js';
import { drawBars } from './bars.js';
import { columnTitle, formatRows } from './figures.js';
import { drawLines } from './lines.js';

/** The folder of the plots, beside the page. */
export const PLOT_FOLDER = 'performance';

export function drawPlot(plot: Plot): string {
  return plot.kind === 'bars' ? drawBars(plot) : drawLines(plot);
}

/** The names of the files that a section's plots are in. */
export function plotName(section: string, index: number): string {
  return `${section}-${index + 1}.svg`;
}

/** All plots by the names of their files. */
export function drawPlots({ sections }: Results): Map<string, string> {
  const entries = Object.entries(sections).flatMap(([name, { plots }]) =>
    plots.map((plot, index) => [plotName(name, index), drawPlot(plot)] as const),
  );
  return new Map(entries);
}

/** A section as Markdown, before it is formatted. */
export function renderSection(name: string, section: RecordedSection): string {
  const { title, what, tables, plots, notes, commands = [] } = section;
  const parts = [`## ${title}`, what, circumstances(section)];
  for (const table of tables) parts.push(`### ${table.title}`, renderTable(table));
  for (const [index, plot] of plots.entries()) {
    parts.push(`![${plot.title}](${PLOT_FOLDER}/${plotName(name, index)})`);
  }
  if (notes.length > 0) parts.push(notes.map((note) => `- ${note}`).join('\n'));
  if (commands.length > 0) {
    parts.push('### Command lines', ...commands.flatMap((each) => [`${each.name}:`, fenced(each.line)]));
  }
  return `${parts.join('\n\n')}\n`;
}

const fenced = (line: string): string => `\`\`\`sh\n${line}\n\`\`\``;

function circumstances({ date, rounds, seconds, machine, measured }: RecordedSection): string {
  const minutes = Math.max(1, Math.round(seconds / 60));
  const took = `${rounds} ${rounds === 1 ? 'round' : 'rounds'}, ${minutes} ${minutes === 1 ? 'minute' : 'minutes'}`;
  const what = describeMeasured(measured);
  return `_Measured on ${date.slice(0, 10)}: ${what}; ${took}, on ${describe(machine)}._`;
}

/** What was measured, in the words of a reader who wants to do it again. */
export function describeMeasured({ version, commit, changed, dpdk, koffi }: Measured): string {
  const place = commit === undefined ? '' : ` at commit ${commit}${changed ? ', with changes' : ''}`;
  return `virtio-net ${version}${place}, koffi ${koffi}${dpdk === undefined ? '' : `, DPDK ${dpdk}`}`;
}

function describe({ processor, processors, memoryGigabytes, kernel, system, node, v8 }: Machine): string {
  return `${processors} processors (${processor}), ${memoryGigabytes} GiB, ${system}, Linux ${kernel}, Node.js ${node} (V8 ${v8})`;
}

export function renderTable(table: Table): string {
  const { columns, rows } = table;
  const isFigure = columns.map((_, index) => rows.some((row) => typeof row[index] === 'number'));
  const lines = [
    columns.map(columnTitle),
    isFigure.map((right) => (right ? '---:' : '---')),
    ...formatRows(table),
  ];
  return lines.map((cells) => `| ${cells.map(escapeCell).join(' | ')} |`).join('\n');
}

function escapeCell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
}

/** The part of the page that says whether its sections belong together. */
const MIXTURE = 'mixture';

const begin = (name: string): string => `<!-- ${name}:begin -->\n`;
const end = (name: string): string => `<!-- ${name}:end -->`;

/** What is said in front of all sections where they do not come from one run, or not from one state of the source. */
function mixture(sections: readonly RecordedSection[]): string {
  const states = new Set(
    sections.map(({ measured, machine }) => describeMeasured(measured) + describe(machine)),
  );
  if (states.size < 2) return '';
  return (
    'These sections were not all measured on the same machine and at the same state of the source: below the title of each ' +
    'it is said where and when it was. Compare within a section only.'
  );
}

/** The page with its sections brought up to date; those that it has no place for come at its end. */
export function renderPage(page: string, { sections }: Results): string {
  let text = replacePart(page, MIXTURE, `\n${mixture(Object.values(sections))}\n`, false);
  for (const [name, section] of Object.entries(sections))
    text = replacePart(text, name, `\n${renderSection(name, section)}\n`, true);
  return text;
}

function replacePart(text: string, name: string, rendered: string, isNeeded: boolean): string {
  const [from, to] = [text.indexOf(begin(name)), text.indexOf(end(name))];
  if (from >= 0 && to > from) return text.slice(0, from + begin(name).length) + rendered + text.slice(to);
  return isNeeded ? `${text.trimEnd()}\n\n${begin(name)}${rendered}${end(name)}\n` : text;
}
