/** What all plots have in common: a canvas, the colours of light and dark surroundings, text, ticks. */

/** Colours that can be told apart on white and on black, by those who see colours differently too. */
const SERIES_COLOURS = [
  '#2f81f7',
  '#e08a1e',
  '#3fa66a',
  '#a371f7',
  '#d1477a',
  '#8a949e',
  '#1b9aaa',
  '#a8763e',
];

const STYLE = `
    text { font: 12px system-ui, sans-serif; fill: #1f2328; }
    .title { font-size: 14px; font-weight: 600; }
    .quiet { fill: #59636e; }
    .grid { stroke: #d1d9e0; stroke-width: 1; }
    .whisker { stroke: #1f2328; stroke-width: 1.5; }
    .line { fill: none; stroke-width: 2; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .quiet { fill: #9198a1; }
      .grid { stroke: #3d444d; }
      .whisker { stroke: #e6edf3; }
    }
`;

export function seriesColour(index: number): string {
  return SERIES_COLOURS[index % SERIES_COLOURS.length];
}

export function escapeText(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

/** Coordinates to a tenth of a pixel: more only makes the file long. */
export const at = (value: number): string => String(Math.round(value * 10) / 10);

export type Anchor = 'start' | 'middle' | 'end';

export function textAt(x: number, y: number, text: string, anchor: Anchor = 'start', style = ''): string {
  const className = style === '' ? '' : ` class="${style}"`;
  return `<text x="${at(x)}" y="${at(y)}" text-anchor="${anchor}"${className}>${escapeText(text)}</text>`;
}

export function lineFrom(x1: number, y1: number, x2: number, y2: number, style: string): string {
  return `<line x1="${at(x1)}" y1="${at(y1)}" x2="${at(x2)}" y2="${at(y2)}" class="${style}"/>`;
}

/** Roughly how wide a text of the usual size is. */
export const textWidth = (text: string): number => text.length * 6.6;

export function canvas(width: number, height: number, title: string, parts: readonly string[]): string {
  const size = `width="${at(width)}" height="${at(height)}" viewBox="0 0 ${at(width)} ${at(height)}"`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img" aria-label="${escapeText(title)}">`,
    `  <style>${STYLE}  </style>`,
    ...parts.map((part) => `  ${part}`),
    '</svg>\n',
  ].join('\n');
}

/** The names of the series beside their colours, in rows as wide as the canvas; gives the height too. */
export function legend(
  names: readonly string[],
  x: number,
  y: number,
  width: number,
): { parts: string[]; height: number } {
  const parts: string[] = [];
  let [left, top] = [x, y];
  for (const [index, name] of names.entries()) {
    const needed = 28 + textWidth(name);
    if (left > x && left + needed > width) [left, top] = [x, top + 18];
    parts.push(
      `<rect x="${at(left)}" y="${at(top - 10)}" width="12" height="12" rx="2" fill="${seriesColour(index)}"/>`,
    );
    parts.push(textAt(left + 17, top, name));
    left += needed;
  }
  return { parts, height: top - y + 18 };
}

/** Round figures from 0 to at least the highest value, about that many. */
export function linearTicks(highest: number, count = 5): number[] {
  if (!(highest > 0)) return [0, 1];
  const raw = highest / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = ([1, 2, 5, 10].find((factor) => factor * power >= raw) ?? 10) * power;
  const ticks = Math.ceil(highest / step - 1e-9);
  return Array.from({ length: ticks + 1 }, (_, index) => Number((index * step).toPrecision(12)));
}

/** The powers of ten around all values. */
export function logarithmicTicks(lowest: number, highest: number): number[] {
  const first = Math.floor(Math.log10(lowest));
  const last = Math.max(first + 1, Math.ceil(Math.log10(highest)));
  return Array.from({ length: last - first + 1 }, (_, index) => 10 ** (first + index));
}
