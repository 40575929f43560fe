/** Bars that lie, in groups, with whiskers from the lowest to the highest round. */
import type { Bar, BarPlot } from '../result.js';
import { formatFigure } from './figures.js';
import { at, canvas, legend, linearTicks, lineFrom, seriesColour, textAt, textWidth } from './svg.js';

const WIDTH = 760;
const MARGIN = 16;
const BAR = 14;
const GAP = 3;
const GROUP_GAP = 14;
/** Room for the figure behind a bar. */
const FIGURE = 56;

export function drawBars({ title, unit, groups, series }: BarPlot): string {
  const left = MARGIN + Math.max(...groups.map(textWidth)) + 8;
  const keys = legend(
    series.map(({ name }) => name),
    MARGIN,
    48,
    WIDTH - MARGIN,
  );
  const top = 48 + keys.height;
  const groupHeight = series.length * (BAR + GAP) - GAP;
  const bottom = top + groups.length * (groupHeight + GROUP_GAP);
  const bars = series.flatMap((each) => each.bars.filter((bar) => bar !== null));
  const ticks = linearTicks(Math.max(0, ...bars.map(({ value, high = value }) => high)));
  const scale = (WIDTH - MARGIN - FIGURE - left) / ticks[ticks.length - 1];
  const parts = [textAt(MARGIN, 24, title, 'start', 'title'), ...keys.parts];
  for (const tick of ticks) {
    parts.push(lineFrom(left + tick * scale, top, left + tick * scale, bottom, 'grid'));
    parts.push(textAt(left + tick * scale, bottom + 16, formatFigure(tick), 'middle', 'quiet'));
  }
  parts.push(textAt((left + WIDTH - MARGIN - FIGURE) / 2, bottom + 36, unit, 'middle'));
  for (const [index, group] of groups.entries()) {
    const y = top + index * (groupHeight + GROUP_GAP) + GROUP_GAP / 2;
    parts.push(textAt(left - 8, y + groupHeight / 2 + 4, group, 'end'));
    for (const [number, { bars: own }] of series.entries()) {
      const bar = own.at(index) ?? null;
      if (bar !== null)
        parts.push(...drawBar(bar, left, y + number * (BAR + GAP), scale, seriesColour(number)));
    }
  }
  return canvas(WIDTH, bottom + 48, title, parts);
}

function drawBar(bar: Bar, left: number, y: number, scale: number, colour: string): string[] {
  const { value, low = value, high = value } = bar;
  const middle = y + BAR / 2;
  const parts = [
    `<rect x="${at(left)}" y="${at(y)}" width="${at(value * scale)}" height="${BAR}" rx="2" fill="${colour}"/>`,
  ];
  if (high > low) {
    parts.push(lineFrom(left + low * scale, middle, left + high * scale, middle, 'whisker'));
    for (const end of [low, high]) {
      parts.push(lineFrom(left + end * scale, middle - 4, left + end * scale, middle + 4, 'whisker'));
    }
  }
  parts.push(textAt(left + Math.max(value, high) * scale + 6, middle + 4, formatFigure(value)));
  return parts;
}
