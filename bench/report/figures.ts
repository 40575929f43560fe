/** Figures as text, the same on the terminal, in tables and in plots. */
import type { Cell, Column } from '../result.js';

/** With as many digits as say something. */
export function formatFigure(value: number): string {
  if (!Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString('en-US');
  if (Number.isInteger(value)) return String(value);
  return size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toFixed(2);
}

export function formatCell(cell: Cell): string {
  if (cell === null) return '–';
  return typeof cell === 'number' ? formatFigure(cell) : cell;
}

export function columnTitle({ name, unit }: Column): string {
  return unit === undefined ? name : `${name}, ${unit}`;
}
