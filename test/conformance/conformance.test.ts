/** Every statement of the specification is answered, and docs/conformance.md says how. */
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { FEATURE_NAMES, featureEntry } from '../../src/net/feature-table.js';
import { inRepository } from '../vm/paths.js';
import { answerAll } from './answers.js';
import { PAGE_FILE, render, renderPage } from './page.js';
import { findProofs, readProofs, type Proof } from './proofs.js';
import { readReasons, type Reason, type ReasonList } from './reasons.js';
import { readStatements, type Statement } from './statements.js';

/** Where the specification's list may lie beside the repository. */
const SHARED = inRepository('..', 'shared', 'spec', 'driver-normative.json');

describe('docs/conformance.md', () => {
  it('answers every statement as tests and reasons do; if not, run: npm run docs:conformance', () => {
    expect(readFileSync(PAGE_FILE, 'utf8')).toBe(renderPage());
  });

  it('has each statement once, and says of all 240 that they are answered', () => {
    const page = renderPage();
    const { statements } = readStatements();
    const ids = Array.from(page.matchAll(/^\| `([^`]+)` \|/gm), ([, id]) => id);
    expect([...ids].sort()).toEqual(statements.map(({ id }) => id).sort());
    expect(page).toContain('**240 of 240 statements are answered**');
  });
});

describe('the list of statements', () => {
  it('has ids of its own, and is that of the specification where that lies beside the repository', () => {
    const kept = readStatements();
    expect(new Set(kept.statements.map(({ id }) => id)).size).toBe(240);
    expect(kept).toEqual(existsSync(SHARED) ? readStatements(SHARED) : kept);
  });
});

const MUST: Statement = { id: 'core/a/1', section: 'A', level: 'MUST', text: 'The driver MUST.' };
const MAY: Statement = { id: 'net/b/2', section: 'B', level: 'MAY', text: 'It MAY: `x` | $y$ < *z*.' };
const PROOF: Proof = { file: 'test/a.test.ts', titles: ['a group', 'a | test'], proves: ['core/a/1'] };
const GOOD: Reason = { category: 'permission', why: 'It does not.' };

function list(reasons: Record<string, Reason>, unknownFeatures: string[] = []): ReasonList {
  return { reasons, unknownFeatures };
}

describe('answers', () => {
  it('are proofs or reasons, and rendered as such', () => {
    const answers = answerAll([MUST, MAY], [PROOF], list({ 'net/b/2': GOOD }));
    const page = render('the source', answers);
    expect(page).toContain('**2 of 2 statements are answered**');
    expect(page).toContain('- 1 **proved**');
    expect(page).toContain('- 1 **permission**');
    expect(page).toContain('| [test/a.test.ts](../test/a.test.ts): a group › a \\| test |');
    expect(page).toContain(
      '| `net/b/2` | MAY | It MAY: \\`x\\` \\| \\$y\\$ &lt; \\*z\\*. | **permission**: It does not. |',
    );
  });

  it('are missed where there are none', () => {
    expect(() => answerAll([MUST, MAY], [PROOF], list({}))).toThrow(
      'net/b/2: there is no test and no reason',
    );
  });

  it('are refused for statements that do not exist', () => {
    const alien = { ...PROOF, proves: ['core/a/1', 'core/a/9'] };
    expect(() => answerAll([MUST], [alien], list({}))).toThrow(
      'core/a/9, named in test/a.test.ts, does not exist',
    );
    expect(() => answerAll([MUST], [PROOF], list({ 'net/c/1': GOOD }))).toThrow(
      'net/c/1, named in the list of reasons, does not exist',
    );
  });

  it('are refused where a reason stands beside a proof', () => {
    const reasons = list({ 'core/a/1': { category: 'by-construction', why: 'It can not.' } });
    expect(() => answerAll([MUST], [PROOF], reasons)).toThrow('although test/a.test.ts proves it');
  });

  it('name each feature that is not negotiated, and no longer hold once it is', () => {
    const because = (...features: string[]): (() => unknown) => {
      const reason: Reason = { category: 'not-negotiated', features, why: 'It is not used.' };
      return () => answerAll([MUST], [], list({ 'core/a/1': reason }, ['VIRTIO_F_NEW']));
    };
    const named = (support: string): string =>
      FEATURE_NAMES.find((name) => featureEntry(name).support === support) ?? support;
    expect(because(named('unsupported'), 'VIRTIO_F_NEW')()).toHaveLength(1);
    expect(because(named('unsupported'), named('wanted'))).toThrow('is negotiated: it is wanted');
    expect(because(named('required'))).toThrow('is negotiated: it is required');
    expect(because('VIRTIO_F_OTHER')).toThrow('the feature VIRTIO_F_OTHER does not exist');
    expect(because()).toThrow('the feature is not named');
    const should = { ...MUST, level: 'SHOULD' };
    const notMet: Reason = { category: 'not-met', features: [named('wanted')], why: 'It is hard.' };
    expect(() => answerAll([should], [], list({ 'core/a/1': notMet }))).toThrow(
      'is negotiated: it is wanted',
    );
    expect(() => answerAll([MAY], [], list({ 'net/b/2': GOOD }, [named('unsupported')]))).toThrow(
      'is a feature that the driver knows',
    );
  });

  it.each<[string, Reason, string]>([
    ['a MUST as a permission', GOOD, 'a MUST is no permission'],
    ['a MUST that is not met', { category: 'not-met', why: 'It is hard.' }, 'a MUST has to be met'],
    ['no sentence', { category: 'elsewhere', why: 'because' }, 'the reason is no sentence'],
    ['a feature for nothing', { category: 'elsewhere', features: ['X'], why: 'Why.' }, 'not negotiated'],
    ['another category', { category: 'laziness' as 'elsewhere', why: 'Why.' }, 'laziness does not exist'],
  ])('are refused with %s', (_, reason, flaw) => {
    expect(() => answerAll([MUST], [], list({ 'core/a/1': reason }))).toThrow(flaw);
  });
});

describe('the comments of tests', () => {
  const lines = (...source: string[]): string => source.join('\n');

  it('are found with the titles of groups and tests', () => {
    const source = lines(
      "describe('a group', () => {",
      '  // Something else.',
      '  // Proves: core/a/1, core/a/2,',
      '  //   split/b-c/3',
      "  it.each([1])('a test of %i', () => {});",
      "  it('another', () => {});",
      '});',
      '// Proves: net/d/4',
      "describe.each([1])('all of a group', () => { it('x', () => {}); });",
      '// Proves: pci/e/5',
      "describeVm('in a guest', () => {});",
    );
    expect(findProofs('f', source)).toEqual([
      { file: 'f', titles: ['a group', 'a test of %i'], proves: ['core/a/1', 'core/a/2', 'split/b-c/3'] },
      { file: 'f', titles: ['all of a group'], proves: ['net/d/4'] },
      { file: 'f', titles: ['in a guest'], proves: ['pci/e/5'] },
    ]);
  });

  it.each([
    ['above a test that is left out', "it.skip('x', () => {});"],
    ['above a test that is still to be written', "it.todo('x');"],
    ['above something else', 'const x = 1;'],
    ['above a call that is no test', "expect('x');"],
    ['above nothing', ''],
  ])('are refused %s', (_, below) => {
    expect(() => findProofs('f', lines('// Proves: core/a/1', below))).toThrow(
      'f: "// Proves: core/a/1" is not right above a test that runs',
    );
  });

  it.each([
    '// Proves: core/a',
    '// Proves: core/a/1 core/a/2',
    '// Proves: core/a/1,',
    '// Proves:',
    '// Proves: core/a/1, /2',
    '// proves: core/a/1',
    '//Proves core/a/1',
  ])('are refused where they are no list of ids: %s', (comment) => {
    expect(() => findProofs('f', lines(comment, "it('x', () => {});"))).toThrow(/^f: /);
  });

  it('are refused where a test has two of them', () => {
    const source = lines('// Proves: core/a/1', '// Proves: core/a/2', "it('x', () => {});");
    expect(() => findProofs('f', source)).toThrow('"// Proves: core/a/2" is not right above');
  });
});

describe('the tests and reasons of this repository', () => {
  it('are many', () => {
    expect(readProofs().length).toBeGreaterThan(50);
    expect(Object.keys(readReasons().reasons).length).toBeGreaterThan(20);
  });
});
