/** The table as text. */
import type { RowResult } from './run-boot.js';
import { COMMON_CHECKS, type CheckReport } from './suite.js';

/** What a person wants to see of the figures of a check. */
const CELLS: Partial<Record<CheckReport['check'], (figures: CheckReport['figures']) => string>> = {
  features: ({ transport, features }) => `${String(transport).replace('pci-', '')} ${String(features)}`,
  ping: ({ sent, lost }) => `${Number(sent) - Number(lost)}/${String(sent)}`,
  bytes: ({ frames, longest }) => `${String(frames)} to ${String(longest)}`,
  link: ({ events }) => `${String(events)} events`,
  restart: ({ rounds }) => `${String(rounds)}x`,
};

function cell(report: CheckReport | undefined): string {
  if (report === undefined) return '-';
  if (!report.passed) return 'FAIL';
  return CELLS[report.check]?.(report.figures) ?? 'ok';
}

function extrasOf({ row, checks }: RowResult): string {
  const reports = checks.filter(({ check }) => row.extras.includes(check));
  return reports
    .map((report) => {
      const figures = Object.entries(report.figures).map(([name, value]) => `${name} ${String(value)}`);
      return `${report.check} ${report.passed ? figures.join(', ') : 'FAIL'}`;
    })
    .join('; ');
}

function lineOf(result: RowResult): string[] {
  const cells = COMMON_CHECKS.map((name) => cell(result.checks.find(({ check }) => check === name)));
  return [result.row.name, ...cells, extrasOf(result)];
}

function align(lines: readonly string[][]): string {
  const columns = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  return lines
    .map((line) =>
      line
        .map((text, column) => text.padEnd(columns[column]))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

const isPassed = ({ checks }: RowResult): boolean => checks.every(({ passed }) => passed);

/** Why checks failed, a line each; without those that only follow from another one. */
export function reasonsOf({ row, checks }: RowResult): string[] {
  const failures = checks.filter(({ passed }) => !passed);
  const own = failures.filter(
    ({ reason }, at) => failures.findIndex((other) => other.reason === reason) === at,
  );
  return own
    .filter(({ reason = '' }) => own.length === 1 || !reason.startsWith('not reached: '))
    .map(({ check, reason }) => `${row.name}, ${check}: ${reason ?? 'no reason was given'}`);
}

/** The checks that some rows do without, and why, a line each. */
function notesOf({ row }: RowResult): string[] {
  const notes = Object.entries(row.without).map(([check, why]) => `${row.name}, no ${check}: ${why}`);
  if (row.nic.dump === false) {
    notes.push(
      `${row.name}, bytes: compared by the program alone: QEMU records neither cards of several queues nor vhost-user ones`,
    );
  }
  return notes;
}

const section = (title: string, lines: readonly string[]): string =>
  lines.length === 0 ? '' : `\n${title}:\n${lines.map((line) => `  ${line}`).join('\n')}\n`;

/** The results as a table for a terminal, then notes, then what failed and why. */
export function formatTable(results: readonly RowResult[]): string {
  const passed = results.filter(isPassed).length;
  return [
    `${align([['device', ...COMMON_CHECKS, 'more'], ...results.map(lineOf)])}\n`,
    section('Left out', results.flatMap(notesOf)),
    section('Failed', results.flatMap(reasonsOf)),
    `\n${passed} of ${results.length} devices pass.\n`,
  ].join('');
}
