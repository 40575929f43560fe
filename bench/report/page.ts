/** docs/performance.md: sections made from the results, each between markers, around what was written by hand. */
import type { Machine, Plot, RecordedSection, Results, Table } from '../result.js';
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

function circumstances({ date, rounds, seconds, machine }: RecordedSection): string {
  const minutes = Math.max(1, Math.round(seconds / 60));
  const took = `${rounds} ${rounds === 1 ? 'round' : 'rounds'}, ${minutes} ${minutes === 1 ? 'minute' : 'minutes'}`;
  return `_Measured on ${date.slice(0, 10)}: ${took}, on ${describe(machine)}._`;
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

const begin = (name: string): string => `<!-- ${name}:begin -->\n`;
const end = (name: string): string => `<!-- ${name}:end -->`;

/** The page with its sections brought up to date; those that it has no place for come at its end. */
export function renderPage(page: string, { sections }: Results): string {
  let text = page;
  for (const [name, section] of Object.entries(sections)) {
    const [from, to] = [text.indexOf(begin(name)), text.indexOf(end(name))];
    const rendered = `\n${renderSection(name, section)}\n`;
    if (from < 0 || to < from) text = `${text.trimEnd()}\n\n${begin(name)}${rendered}${end(name)}\n`;
    else text = text.slice(0, from + begin(name).length) + rendered + text.slice(to);
  }
  return text;
}
