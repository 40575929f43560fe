/** `npm run test:vm`: runs the table of devices and prints it. */
import { spawnSync } from 'node:child_process';
import { inRepository } from '../paths.js';
import { VmError } from '../vm-error.js';
import { planBoots } from './boots.js';
import type { DeviceRow } from './device-row.js';
import { DEVICES } from './devices.js';
import { formatTable } from './format.js';
import { negotiatedOf, saveNegotiated } from './negotiated.js';
import { runBoot, type RowResult } from './run-boot.js';

const USAGE = `Usage: npm run test:vm -- [--only WORDS]... [--list] [--save]

Takes the driver through one suite of checks on a table of virtio-net cards of QEMU, and prints the table.

  --only WORDS  only rows whose name contains these words; again for others
  --list        the names of the rows, without running them
  --save        runs all rows and writes the features that were negotiated to docs/negotiated.json
`;
const USAGE_STATUS = 2;
const VM_FAILED_STATUS = 125;

/** The rows that a command line asks for; undefined if it can not be understood. */
function selected(words: readonly string[]): readonly DeviceRow[] | undefined {
  if (words.length === 0) return DEVICES;
  const wanted = words.join('\n').split(/(?:^|\n)--only[\n=]/);
  if (wanted.shift() !== '' || wanted.some((word) => word === '' || word.includes('\n'))) {
    return undefined;
  }
  return DEVICES.filter(({ name }) => wanted.some((word) => name.toLowerCase().includes(word.toLowerCase())));
}

async function run(rows: readonly DeviceRow[], save: boolean): Promise<number> {
  const began = performance.now();
  const results: RowResult[] = [];
  for (const boot of planBoots(rows)) {
    results.push(
      ...(await runBoot(boot, ({ row, check, passed, reason }) =>
        process.stderr.write(
          `${passed ? 'pass' : 'FAIL'}  ${row}: ${check}${passed ? '' : `: ${reason ?? ''}`}\n`,
        ),
      )),
    );
  }
  process.stdout.write(formatTable(results));
  process.stderr.write(`${Math.round((performance.now() - began) / 1000)} seconds\n`);
  if (save) saveNegotiated(negotiatedOf(results));
  return results.every(({ checks }) => checks.every(({ passed }) => passed)) ? 0 : 1;
}

async function main(words: readonly string[]): Promise<number> {
  if (words.includes('--list')) {
    process.stdout.write(DEVICES.map(({ name }) => `${name}\n`).join(''));
    return 0;
  }
  const save = words.includes('--save');
  const rows = selected(words.filter((word) => word !== '--save'));
  if (rows === undefined || rows.length === 0 || (save && words.length > 1)) {
    process.stderr.write(rows?.length !== 0 ? USAGE : 'No row has such a name; see --list.\n');
    return USAGE_STATUS;
  }
  const ensure = [inRepository('test/tools/ensure.mjs'), 'shim', 'build', 'vm'];
  const { status } = spawnSync(process.execPath, ensure, { stdio: ['ignore', 'ignore', 'inherit'] });
  return status === 0 ? run(rows, save) : VM_FAILED_STATUS;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof VmError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = VM_FAILED_STATUS;
}
