/**
 * Which test proves which statement, as the tests themselves say it: in a comment right above `it(...)` or
 * `describe(...)`, over as many lines as it takes.
 *
 * ```ts
 * // Proves: split/virtqueues/1, split/message-framing/1,
 * //   split/message-framing/2
 * it('places its parts ...', () => {
 * ```
 */
import { readdirSync, readFileSync } from 'node:fs';
import ts from 'typescript';
import { inRepository } from '../vm/paths.js';

/** A test, or a group of tests, that says what it proves. */
export interface Proof {
  /** Path from the top of the repository. */
  readonly file: string;
  /** Titles from the outermost group down to the test. */
  readonly titles: readonly string[];
  /** Ids of statements. */
  readonly proves: readonly string[];
}

const MARK = '// Proves:';
const FURTHER = /^\/\/ {3}(?=\S)/;
const ID = /^[a-z]+(?:\/[a-z0-9-]+)+\/\d+$/;

/** The proofs of all tests in `test`, in the order of their files. */
export function readProofs(): Proof[] {
  return readdirSync(inRepository('test'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.test.ts'))
    .sort()
    .flatMap((path) => findProofs(`test/${path}`, readFileSync(inRepository('test', path), 'utf8')));
}

/**
 * The proofs in the source of one file.
 *
 * @throws Error where a comment holds what is no id, or stands above something that is no running test
 */
export function findProofs(file: string, source: string): Proof[] {
  const proofs: Proof[] = [];
  const used = new Set<number>();
  const visit = (node: ts.Node, titles: readonly string[]): void => {
    const title = ts.isExpressionStatement(node) ? titleOf(node.expression) : undefined;
    const within = title === undefined ? titles : [...titles, title];
    if (title !== undefined) {
      const marked = markedComment(source, node);
      if (marked !== undefined) {
        used.add(marked.at);
        proofs.push({ file, titles: within, proves: parseIds(file, marked.text) });
      }
    }
    ts.forEachChild(node, (child) => visit(child, within));
  };
  visit(ts.createSourceFile(file, source, ts.ScriptTarget.Latest), []);
  checkAllUsed(file, source, used);
  return proofs;
}

/** The title of `it('...', ...)`, `describe.each(...)('...', ...)` and so on; undefined for anything else. */
function titleOf(expression: ts.Expression): string | undefined {
  if (!ts.isCallExpression(expression) || !isTestFunction(expression.expression)) return undefined;
  const title = expression.arguments.at(0);
  return title !== undefined && ts.isStringLiteralLike(title) ? title.text : undefined;
}

/** A test that is left out proves nothing, so `it.skip` and the like are none. */
function isTestFunction(callee: ts.Expression): boolean {
  if (ts.isIdentifier(callee)) return ['it', 'describe', 'describeVm'].includes(callee.text);
  if (!ts.isCallExpression(callee) || !ts.isPropertyAccessExpression(callee.expression)) return false;
  return callee.expression.name.text === 'each' && isTestFunction(callee.expression.expression);
}

/** The comment right above a statement, from its mark on. */
function markedComment(source: string, node: ts.Node): { at: number; text: string } | undefined {
  const comments = ts.getLeadingCommentRanges(source, node.getFullStart()) ?? [];
  const lines = comments.map(({ pos, end }) => ({ pos, text: source.slice(pos, end) }));
  const first = lines.findIndex(({ text }) => text.startsWith(MARK));
  if (first < 0) return undefined;
  const [{ pos, text }, ...others] = lines.slice(first);
  const rest = others
    .filter((line) => FURTHER.test(line.text))
    .map((line) => line.text.replace(FURTHER, ' '));
  return { at: pos, text: [text.slice(MARK.length), ...rest].join('') };
}

function parseIds(file: string, text: string): string[] {
  const ids = text.split(',').map((id) => id.trim());
  for (const id of ids) {
    if (!ID.test(id)) throw new Error(`${file}: "${id}" behind "Proves:" is no id of a statement`);
  }
  return ids;
}

/** Whatever looks like such a comment has to be one that counts. */
function checkAllUsed(file: string, source: string, used: ReadonlySet<number>): void {
  for (const match of source.matchAll(/^[ \t]*(\/\/\s*proves\b.*)$/gim)) {
    const at = match.index + match[0].indexOf('//');
    if (!used.has(at)) throw new Error(`${file}: "${match[1]}" is not right above a test that runs`);
  }
}
