/** Lines over a number. */
import type { LinePlot } from '../result.js';
import { formatFigure } from './figures.js';
import {
  at,
  canvas,
  legend,
  linearTicks,
  lineFrom,
  logarithmicTicks,
  seriesColour,
  textAt,
  textWidth,
} from './svg.js';

const WIDTH = 760;
const PLOT_HEIGHT = 280;
const MARGIN = 16;

interface Axis {
  readonly ticks: readonly number[];
  /** Where a value lies, from 0 to 1. */
  place(value: number): number;
}

function linearAxis(values: readonly number[]): Axis {
  const ticks = linearTicks(Math.max(0, ...values));
  return { ticks, place: (value) => value / ticks[ticks.length - 1] };
}

/** Ticks at the powers of ten, or for the x axis at the values themselves. */
function logarithmicAxis(ticks: readonly number[]): Axis {
  const [low, high] = [Math.log(ticks[0]), Math.log(ticks[ticks.length - 1])];
  return { ticks, place: (value) => (high === low ? 0.5 : (Math.log(value) - low) / (high - low)) };
}

function xAxis({ x, series }: LinePlot): Axis {
  const values = [...new Set(series.flatMap(({ points }) => points.map(([value]) => value)))];
  values.sort((a, b) => a - b);
  return x.scale === 'logarithmic' ? logarithmicAxis(values) : linearAxis(values);
}

function yAxis({ scale, series }: LinePlot): Axis {
  const values = series.flatMap(({ points }) => points.map(([, value]) => value));
  if (scale !== 'logarithmic') return linearAxis(values);
  return logarithmicAxis(logarithmicTicks(Math.min(...values), Math.max(...values)));
}

export function drawLines(plot: LinePlot): string {
  const { title, unit, x, series } = plot;
  const [across, up] = [xAxis(plot), yAxis(plot)];
  const left = MARGIN + Math.max(...up.ticks.map((tick) => textWidth(formatFigure(tick)))) + 8;
  const keys = legend(
    series.map(({ name }) => name),
    MARGIN,
    48,
    WIDTH - MARGIN,
  );
  const top = 48 + keys.height + 16;
  const bottom = top + PLOT_HEIGHT;
  const right = WIDTH - MARGIN - 12;
  const xOf = (value: number): number => left + across.place(value) * (right - left);
  const yOf = (value: number): number => bottom - up.place(value) * PLOT_HEIGHT;
  const parts = [textAt(MARGIN, 24, title, 'start', 'title'), ...keys.parts];
  parts.push(textAt(MARGIN, top - 12, unit, 'start', 'quiet'));
  for (const tick of up.ticks) {
    parts.push(lineFrom(left, yOf(tick), right, yOf(tick), 'grid'));
    parts.push(textAt(left - 8, yOf(tick) + 4, formatFigure(tick), 'end', 'quiet'));
  }
  for (const tick of across.ticks) {
    parts.push(textAt(xOf(tick), bottom + 18, formatFigure(tick), 'middle', 'quiet'));
  }
  parts.push(textAt((left + right) / 2, bottom + 38, x.name, 'middle'));
  for (const [index, { points }] of series.entries()) {
    const colour = seriesColour(index);
    const path = points.map(([px, py]) => `${at(xOf(px))},${at(yOf(py))}`).join(' ');
    parts.push(`<polyline points="${path}" class="line" stroke="${colour}"/>`);
    for (const [px, py] of points) {
      parts.push(`<circle cx="${at(xOf(px))}" cy="${at(yOf(py))}" r="3" fill="${colour}"/>`);
    }
  }
  return canvas(WIDTH, bottom + 50, title, parts);
}
