/** What README.md says of a real card, done with one. */
import { expect, it } from 'vitest';
import { runGuest } from '../vm/run-guest.js';
import { describeVm } from '../vm/describe-vm.js';
import { codeBlocks, readReadme, type CodeBlock } from './readme.js';
import { programs } from './snippets.js';

const LONG = 600_000;
const readme = readReadme();

describeVm('the commands of the README for a real card', () => {
  const shell = (kind: string): string => {
    const found = codeBlocks(readme).find((block) => block.language === 'sh' && block.kind === kind);
    if (found === undefined) throw new Error(`README.md has no block: sh ${kind}`);
    return found.code;
  };
  const quickStarts = (): CodeBlock[] =>
    programs(codeBlocks(readme)).filter(({ code }) => code.includes('process.argv[2]'));

  it(
    'bind it, let a user drive it within the memory that is named, and give it back',
    async () => {
      const [first, second] = quickStarts();
      const memory = /By default that is (\d+) KiB/.exec(readme)?.[1];
      const driver = 'basename "$(readlink /sys/bus/pci/devices/0000:00:10.0/driver)"';
      const asUser = (limit: string): string =>
        `(ulimit -l ${limit}; su user -c 'node arp.mjs 0000:00:10.0')`;
      const script = [
        ...['node arp.mjs 0000:00:10.0', 'node arp.cjs 0000:00:10.0', driver],
        ...[`export USER=user\n${shell('bind')}`, driver, asUser(memory ?? '0')],
        ...[`${asUser(String(Number(memory) - 4))} 2>&1 | grep code:`, driver, shell('unbind'), driver],
      ].join('\n');
      const { status, output } = await runGuest([], script, {
        nics: [{ bind: false }],
        files: { '/app/arp.mjs': first.code, '/app/arp.cjs': second.code },
      });
      expect(status, output).toBe(0);
      expect(
        output
          .trim()
          .split('\n')
          .map((line) => line.trim()),
      ).toEqual([
        '10.0.2.2 is at 52:55:0a:00:02:02',
        '52:54:00:12:34:56, MTU 1500, link up',
        'virtio-pci',
        'vfio-pci',
        '10.0.2.2 is at 52:55:0a:00:02:02',
        "code: 'VFIO_MEMLOCK_TOO_LOW',",
        'vfio-pci',
        'virtio-pci',
      ]);
    },
    LONG,
  );
});
