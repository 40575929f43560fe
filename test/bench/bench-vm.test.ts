/**
 * The benchmark itself, in its shortest form: that it runs and fills its tables, never what the figures are. It is no
 * test of a VM, but wants two processors to itself as those do.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Results } from '../../bench/result.js';
import { inRepository } from '../vm/paths.js';

const LONG = 300_000;
let folder: string;

beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'virtio-net-bench-test-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Runs it with a folder for temporary files that is this test's alone. */
function bench(...words: string[]): ChildProcess {
  const tsx = inRepository('node_modules/tsx/dist/cli.mjs');
  return spawn(process.execPath, [tsx, inRepository('bench/run.ts'), ...words], {
    env: { ...process.env, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Processes that have a file of that folder open, or its name on their command line. */
function processesWith(path: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && name !== String(process.pid))
    .filter((id) => {
      try {
        return readFileSync(`/proc/${id}/cmdline`, 'utf8').includes(path);
      } catch {
        // It has ended meanwhile.
        return false;
      }
    })
    .map((id) => `${id} ${readlinkSync(`/proc/${id}/exe`)}`);
}

/** Those of the benchmark: what compiles it on the fly has a cache there too. */
const temporaryFolders = (): string[] => readdirSync(folder).filter((name) => name.startsWith('virtio-net'));

it(
  'measures the main table beside DPDK, and leaves nothing behind',
  async () => {
    const output = join(folder, 'results.json');
    const child = bench('--quick', '--only', 'dpdk', '--rounds', '1', '--output', output);
    const said: string[] = [];
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (bytes) => said.push(String(bytes)));
    const [status] = (await once(child, 'close')) as [number];
    expect(status, said.join('')).toBe(0);

    const { sections } = JSON.parse(readFileSync(output, 'utf8')) as Results;
    const { tables, plots, notes, commands } = sections.dpdk;
    // At one distance, or at both where the machine was moved about meanwhile.
    const rows = tables.flatMap((table) => table.rows);
    const cases = rows.map(([name, rings]) => `${String(name)}: ${String(rings)}`).sort();
    const names = ['receive', 'transmit, each frame written', 'transmit, buffers as they are', 'forward'];
    expect(cases).toEqual(names.flatMap((name) => [`${name}: packed`, `${name}: split`]).sort());
    for (const row of rows) {
      // What frames were counted, for both: a driver that stands still has none.
      for (const figure of [row[2], row[4], row[6]]) expect(figure, JSON.stringify(row)).toBeGreaterThan(0);
    }
    expect(plots.length).toBe(tables.length);
    expect(notes.join('\n')).toContain('using packed ring standard Rx path');
    expect(commands?.map(({ line }) => line).join('\n')).toContain('--vdev net_virtio_user0');
    expect(temporaryFolders()).toEqual([]);
    expect(processesWith(folder)).toEqual([]);
  },
  LONG,
);

it(
  'ends all that it has started when it is interrupted',
  async () => {
    const child = bench('--quick', '--only', 'dpdk', '--rounds', '9', '--no-save');
    await new Promise<void>((resolve) => {
      child.stderr?.on('data', (bytes: Buffer) => {
        if (bytes.includes('DPDK virtio-user')) resolve();
      });
    });
    expect(processesWith(folder).length).toBeGreaterThan(1);
    child.kill('SIGINT');
    const [status] = (await once(child, 'close')) as [number];
    expect(status).toBe(130);
    expect(processesWith(folder)).toEqual([]);
    expect(temporaryFolders()).toEqual([]);
  },
  LONG,
);
