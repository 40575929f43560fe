/** The sections beside the main table in their short form: that they run and fill their tables, never what the figures are. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { Plot, Results } from '../../bench/result.js';
import { inRepository } from '../vm/paths.js';

const LONG = 600_000;
const SECTIONS = ['vm', 'latency', 'garbage', 'ring-operations', 'load', 'footprint', 'workers'];

function runSections(): Results {
  const folder = mkdtempSync(join(tmpdir(), 'virtio-net-sections-'));
  try {
    const output = join(folder, 'results.json');
    const tsx = inRepository('node_modules/tsx/dist/cli.mjs');
    const only = SECTIONS.flatMap((name) => ['--only', name]);
    const words = [
      tsx,
      inRepository('bench/run.ts'),
      '--quick',
      '--rounds',
      '1',
      '--output',
      output,
      ...only,
    ];
    const { status, stdout, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8' });
    expect(status, stdout + stderr).toBe(0);
    return JSON.parse(readFileSync(output, 'utf8')) as Results;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const figuresOf = (plot: Plot): number[] =>
  plot.kind === 'bars'
    ? plot.series.flatMap(({ bars }) => bars.flatMap((bar) => (bar === null ? [] : [bar.value])))
    : plot.series.flatMap(({ points }) => points.flat());

it(
  'measures everything beside the main table',
  () => {
    const { sections } = runSections();
    expect(Object.keys(sections).toSorted()).toEqual(SECTIONS.toSorted());
    for (const { title, tables, plots } of Object.values(sections)) {
      expect(tables, title).not.toHaveLength(0);
      for (const { columns, rows } of tables) {
        expect(rows, title).not.toHaveLength(0);
        for (const row of rows) expect(row, title).toHaveLength(columns.length);
        expect(rows.flat().some((cell) => typeof cell === 'number' && cell > 0)).toBe(true);
      }
      for (const plot of plots) {
        const figures = figuresOf(plot);
        expect(figures, plot.title).not.toHaveLength(0);
        expect(figures.every(Number.isFinite), plot.title).toBe(true);
      }
    }
    // Both directions, our driver and at least the three ways of a packet socket.
    expect(
      sections.vm.tables[0].rows.filter(([, , rate]) => typeof rate === 'number').length,
    ).toBeGreaterThanOrEqual(8);
    // One that a stretch of a few frames would not show.
    const [{ columns, rows }] = sections.garbage.tables;
    const frames = columns.findIndex(({ name }) => name === 'frames');
    expect(rows.map((row) => row[frames])).toEqual([2, 2, 2, 2]);
  },
  LONG,
);
