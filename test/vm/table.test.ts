/** How the table of devices is shared out among guests, and printed: without a guest. */
import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { inRepository } from './paths.js';
import { planBoots } from './table/boots.js';
import { checksOf, row } from './table/device-row.js';
import { DEVICES } from './table/devices.js';
import { formatTable, reasonsOf } from './table/format.js';
import { negotiatedOf } from './table/negotiated.js';
import type { RowResult } from './table/run-boot.js';
import { COMMON_CHECKS } from './table/suite.js';

const passing = (name: string, given: Parameters<typeof row>[2] = {}): RowResult => {
  const device = row(name, '', given);
  const figures = { negotiated: 'VIRTIO_F_VERSION_1', sent: 5, lost: 0 };
  return {
    row: device,
    checks: checksOf(device).map((check) => ({ row: name, check, passed: true, figures })),
  };
};

describe('the table of devices', () => {
  it('has no two rows of one name', () => {
    expect(new Set(DEVICES.map(({ name }) => name)).size).toBe(DEVICES.length);
  });

  it('puts every row into one guest, of its kind, that has room for its cards', () => {
    const boots = planBoots(DEVICES);
    expect(boots.flatMap(({ rows }) => rows).map(({ name }) => name)).toHaveLength(DEVICES.length);
    for (const { machine, rows } of boots) {
      expect(rows.every((one) => one.machine === machine)).toBe(true);
      const cards = rows.reduce((count, { other }) => count + (other === undefined ? 1 : 2), 0);
      expect(cards).toBeLessThanOrEqual(12);
    }
  });

  it('leaves no check out without saying why', () => {
    for (const device of DEVICES) {
      const left = COMMON_CHECKS.filter((check) => !checksOf(device).includes(check));
      for (const check of left) expect(device.without[check]?.length).toBeGreaterThan(20);
    }
  });

  it('shows figures, what was left out, and first causes of failures', () => {
    const good = passing('good', { without: { kernel: 'there is none' } });
    const bad = passing('bad');
    const failed = bad.checks.map((report) =>
      report.check === 'open'
        ? { ...report, passed: false, reason: 'it did not open' }
        : { ...report, passed: false, reason: 'not reached: open failed' },
    );
    const text = formatTable([good, { row: bad.row, checks: failed }]);
    expect(text).toMatch(/^good +ok .* 5\/5 /m);
    expect(text).toMatch(/^bad( +FAIL)+$/m);
    expect(text).toContain('good, no kernel: there is none');
    expect(text).toContain('1 of 2 devices pass.');
    expect(reasonsOf({ row: bad.row, checks: failed })).toEqual(['bad, open: it did not open']);
  });

  it('counts as negotiated what a device of the kind has shown', () => {
    expect(negotiatedOf([passing('one'), passing('two')])).toEqual({
      qemu: ['VIRTIO_F_VERSION_1'],
      'dpdk-vhost': [],
    });
  });

  it('says on the command line what was wrong with it', () => {
    const cli = (...args: string[]) =>
      spawnSync(process.execPath, ['--import', 'tsx', inRepository('test/vm/table/cli.ts'), ...args], {
        cwd: inRepository(),
        encoding: 'utf8',
      });
    expect(cli('--list').stdout.split('\n')).toContain('modern, packed rings');
    expect(cli('--only')).toMatchObject({ status: 2, stdout: '' });
    expect(cli('--only', 'no such row')).toMatchObject({ status: 2, stdout: '' });
    expect(cli('--only', 'no such row').stderr).toContain('--list');
  });
});
