/** A section on the terminal. */
import type { SectionResult, Table } from '../result.js';
import { columnTitle, formatRows } from './figures.js';

export function printSection({ title, what, tables, notes }: SectionResult): string {
  const parts = [`\n${title}\n${'='.repeat(title.length)}\n`, `${what}\n`];
  for (const table of tables) parts.push(`\n${table.title}\n\n${printTable(table)}`);
  if (notes.length > 0) parts.push(`\n${notes.map((note) => `- ${note}\n`).join('')}`);
  return parts.join('');
}

function printTable(table: Table): string {
  const { columns, rows } = table;
  const lines = [columns.map(columnTitle), ...formatRows(table)];
  const widths = columns.map((_, index) => Math.max(...lines.map((line) => line[index].length)));
  const isFigure = columns.map((_, index) => rows.some((row) => typeof row[index] === 'number'));
  const pad = (text: string, index: number): string =>
    isFigure[index] ? text.padStart(widths[index]) : text.padEnd(widths[index]);
  return lines.map((line) => `${line.map(pad).join('  ').trimEnd()}\n`).join('');
}
