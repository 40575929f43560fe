/** The code in README.md. */
import { readFileSync } from 'node:fs';
import { inRepository } from '../vm/paths.js';

export const README = inRepository('README.md');

/** A fenced block. */
export interface CodeBlock {
  /** The first word behind the fence: `js`, `sh`, ... */
  readonly language: string;
  /** The word after it, if any: what kind of block it is. */
  readonly kind: string;
  readonly code: string;
  /** The heading above it. */
  readonly heading: string;
  /** Number of the line of its fence, from 1. */
  readonly line: number;
  /** What it prints: the `text` block that follows at once. */
  readonly prints: string | undefined;
}

export function readReadme(): string {
  return readFileSync(README, 'utf8');
}

/** All fenced blocks in their order. */
export function codeBlocks(readme: string): CodeBlock[] {
  const blocks: CodeBlock[] = [];
  let heading = '';
  let open: { language: string; kind: string; line: number; lines: string[] } | undefined;
  for (const [index, text] of readme.split('\n').entries()) {
    if (open === undefined) {
      if (text.startsWith('#')) heading = text.replace(/^#+ /, '');
      const fence = /^```(\w+) ?(.*)$/.exec(text);
      if (fence !== null) open = { language: fence[1], kind: fence[2], line: index + 1, lines: [] };
    } else if (text === '```') {
      const { lines, ...rest } = open;
      blocks.push({ ...rest, heading, code: `${lines.join('\n')}\n`, prints: undefined });
      open = undefined;
    } else open.lines.push(text);
  }
  return withOutput(blocks, readme.split('\n'));
}

function withOutput(blocks: readonly CodeBlock[], lines: readonly string[]): CodeBlock[] {
  return blocks.map((block, index) => {
    const next = blocks.at(index + 1);
    if (next?.language !== 'text') return block;
    const end = block.line + block.code.split('\n').length;
    const between = lines
      .slice(end, next.line - 1)
      .join('')
      .trim();
    return between.endsWith('It prints:') ? { ...block, prints: next.code } : block;
  });
}

const between = (name: string): RegExp =>
  new RegExp(`(?<=<!-- ${name}:begin -->\n)[\\s\\S]*?(?=<!-- ${name}:end -->)`);

/** The text between `<!-- NAME:begin -->` and `<!-- NAME:end -->`. */
export function marked(readme: string, name: string): string {
  const found = between(name).exec(readme);
  if (found === null) throw new Error(`README.md has no part that is marked ${name}`);
  return found[0];
}

/** The README with another text in that place. */
export function replaceMarked(readme: string, name: string, text: string): string {
  marked(readme, name);
  return readme.replace(between(name), () => text);
}
