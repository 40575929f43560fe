/** Figures as text, the same on the terminal, in tables and in plots. */
import type { Cell, Column, Table } from '../result.js';

/** With as many digits as say something. */
export function formatFigure(value: number): string {
  if (!Number.isFinite(value)) return '–';
  return Number.isInteger(value) && Math.abs(value) < 1000 ? String(value) : formatMeasured(value);
}

function formatMeasured(value: number): string {
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString('en-US');
  return size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** The rows of a table as text: a column of whole numbers is one of counts, and others have decimals throughout. */
export function formatRows({ columns, rows }: Table): string[][] {
  const isMeasured = columns.map((_, index) => rows.some((row) => isFraction(row[index])));
  return rows.map((row) => row.map((cell, index) => formatCell(cell, isMeasured[index])));
}

const isFraction = (cell: Cell): boolean => typeof cell === 'number' && !Number.isInteger(cell);

function formatCell(cell: Cell, isMeasured: boolean): string {
  if (cell === null) return '–';
  if (typeof cell === 'string') return cell;
  return isMeasured ? formatMeasured(cell) : formatFigure(cell);
}

export function columnTitle({ name, unit }: Column): string {
  return unit === undefined ? name : `${name}, ${unit}`;
}
