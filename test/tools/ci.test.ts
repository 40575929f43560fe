/** What .ci/run makes of a test run, with a program that plays npm. */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { inRepository } from '../vm/paths.js';

let folder: string;

/** In place of vitest, writes the report that is in REPORT and ends in the way that END says. */
const NPM = `#!/bin/bash
[ "$1" = test ] || exit "$STEP_STATUS"
for word in "$@"; do
  case $word in --outputFile.json=*) printf %s "$REPORT" >"\${word#*=}" ;; esac
done
eval "$END"
`;

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly object[];
}

const GOOD: Report = {
  numPassedTests: 3,
  numFailedTests: 0,
  numPendingTests: 0,
  numTodoTests: 0,
  testResults: [{ status: 'passed', assertionResults: [{}, {}, {}] }],
};

function ci(report: string, end = 'exit 0', stepStatus = 0): { status: number | null; last?: string } {
  const { status, stdout } = spawnSync('bash', [join(folder, '.ci/run')], {
    encoding: 'utf8',
    env: {
      PATH: `${folder}:${dirname(process.execPath)}:${process.env.PATH ?? ''}`,
      REPORT: report,
      END: end,
      STEP_STATUS: String(stepStatus),
    },
  });
  return { status, last: stdout.trimEnd().split('\n').at(-1) ?? '' };
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ci-test-'));
  cpSync(inRepository('.ci/run'), join(folder, '.ci/run'));
  mkdirSync(join(folder, 'test/tools'), { recursive: true });
  writeFileSync(join(folder, 'test/tools/ensure.mjs'), '');
  writeFileSync(join(folder, 'npm'), NPM);
  chmodSync(join(folder, 'npm'), 0o755);
});

afterEach(() => rmSync(folder, { recursive: true }));

describe('.ci/run', () => {
  it('counts each step and each test', () => {
    const last = '7 passed, 0 failed, 0 skipped';
    expect(ci(JSON.stringify(GOOD))).toEqual({ status: 0, last });
  });

  it.each<[string, string, string, string]>([
    [
      'a failed test',
      JSON.stringify({ ...GOOD, numFailedTests: 2 }),
      'exit 1',
      '7 passed, 2 failed, 0 skipped',
    ],
    [
      'a skipped test',
      JSON.stringify({ ...GOOD, numPendingTests: 1 }),
      'exit 0',
      '7 passed, 1 failed, 1 skipped',
    ],
    [
      'a test to be written',
      JSON.stringify({ ...GOOD, numTodoTests: 1 }),
      'exit 0',
      '7 passed, 1 failed, 1 skipped',
    ],
    [
      'a file that does not load',
      JSON.stringify({ ...GOOD, testResults: [{ status: 'failed', assertionResults: [] }] }),
      'exit 1',
      '7 passed, 1 failed, 0 skipped',
    ],
    ['an unhandled rejection', JSON.stringify(GOOD), 'exit 1', '7 passed, 1 failed, 0 skipped'],
    ['a crash', '', 'kill -SEGV $$', '4 passed, 1 failed, 0 skipped'],
    ['an empty report', '', 'exit 0', '4 passed, 1 failed, 0 skipped'],
    ['a report without counts', '{ "testResults": [] }', 'exit 0', '4 passed, 1 failed, 0 skipped'],
    [
      'a run without a test',
      JSON.stringify({ ...GOOD, numPassedTests: 0, testResults: [] }),
      'exit 0',
      '4 passed, 1 failed, 0 skipped',
    ],
  ])('fails for %s', (_name, report, end, last) => {
    expect(ci(report, end)).toEqual({ status: 1, last });
  });

  it('fails for a step that fails', () => {
    expect(ci(JSON.stringify(GOOD), 'exit 0', 1)).toEqual({
      status: 1,
      last: '4 passed, 3 failed, 0 skipped',
    });
  });
});
