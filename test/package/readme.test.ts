/** README.md says what is so: its programs run, its tables are those of the source, its commands are there. */
import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NetDevice } from '../../src/net-device.js';
import { FEATURE_NAMES, featureEntry } from '../../src/net/feature-table.js';
import { createSimulatedDevice } from '../../src/sim/index.js';
import { inRepository } from '../vm/paths.js';
import { codeBlocks, marked, readReadme } from './readme.js';
import { readNegotiated, renderTable, TABLES } from './readme-tables.js';
import { run, runNode, runWell } from './run.js';
import { programs, writeProgram } from './snippets.js';
import { copyWorkingTree, removeFolder, temporaryFolder } from './working-copy.js';

const LONG = 300_000;
/** What npx would find, and perhaps add a notice of its own to. */
const TSX = inRepository('node_modules/.bin/tsx');
const readme = readReadme();
const blocks = codeBlocks(readme);

describe('the programs of the README', () => {
  let folder: string;

  // Code within a package reaches it by its name, so what was built need not be installed.
  beforeAll(async () => {
    folder = await temporaryFolder();
    await copyWorkingTree(folder);
    await runWell(process.execPath, ['node_modules/tsup/dist/cli-default.js', '--silent', '--no-dts'], {
      cwd: folder,
    });
  }, LONG);

  afterAll(() => removeFolder(folder));

  it('are all of its code', () => {
    const known = ['js', 'sh', 'text', 'xml', 'ini'];
    expect(blocks.filter(({ language }) => !known.includes(language))).toEqual([]);
    // One is the set-up of others, one needs a backend.
    expect(programs(blocks).length).toBe(blocks.filter(({ language }) => language === 'js').length - 2);
    expect(programs(blocks).length).toBeGreaterThan(8);
  });

  it.each(programs(blocks).map((block) => [block.line, block.heading, block] as const))(
    'line %i, %s',
    async (_line, _heading, block) => {
      const { status, stdout, stderr } = await runNode(await writeProgram(block, folder), { cwd: folder });
      expect({ status, stderr }, stdout).toEqual({ status: 0, stderr: '' });
      if (block.prints === undefined) expect(stdout).not.toBe('');
      else expect(stdout).toBe(block.prints);
    },
    LONG,
  );
});

describe('the commands of the README for the examples', () => {
  it(
    'print what it says',
    async () => {
      const [block, ...others] = blocks.filter(
        ({ language, kind }) => language === 'sh' && kind === 'example',
      );
      expect(others).toEqual([]);
      const { status, stdout, stderr } = await run('sh', ['-ec', block.code.replaceAll('npx tsx', TSX)], {
        cwd: inRepository(),
      });
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expect(stdout).toBe(block.prints);
      expect(stdout.split('\n').length).toBeGreaterThan(3);
    },
    LONG,
  );
});

describe('the tables of the README', () => {
  it.each(Object.keys(TABLES))('%s: as the source has it; if not, run: npm run docs', async (name) => {
    expect(marked(readme, name)).toBe(await renderTable(name));
  });

  it('have every option, and no other', async () => {
    const open = NetDevice.open(createSimulatedDevice().transport, { none: 1 } as object);
    const error: unknown = await open.catch((reason: unknown) => reason);
    const known = /an object with some of (.*)\.$/.exec((error as Error).message)?.[1].split(', ');
    const [, section] = readme.split('\n### Options\n');
    const rows = section.split('\n### ')[0].matchAll(/^\| `(\w+)`/gm);
    expect(Array.from(rows, ([, name]) => name)).toEqual(known);
  });
});

describe('what was negotiated with devices that others wrote', () => {
  it.each(Object.entries(readNegotiated()))('names features that this driver uses: %s', (_, names) => {
    const used = FEATURE_NAMES.filter((name) => featureEntry(name).support !== 'unsupported');
    expect(used).toEqual(expect.arrayContaining([...(names as readonly string[])]));
  });
});

describe('the README', () => {
  it('names as not there yet what the driver does not support', () => {
    const [, section] = readme.split('\n### What is not there yet\n');
    const named = Array.from(section.split('\n## ')[0].matchAll(/`(VIRTIO_\w+)`/g), ([, name]) => name);
    const unsupported = FEATURE_NAMES.filter((name) => featureEntry(name).support === 'unsupported');
    expect(unsupported).toEqual(expect.arrayContaining(named));
  });

  it('names scripts and files that there are', () => {
    const { scripts } = JSON.parse(readFileSync(inRepository('package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    const named = Array.from(readme.matchAll(/npm run ([\w:]+)/g), ([, name]) => name);
    expect(named.filter((name) => !(name in scripts))).toEqual([]);
    expect(named.length).toBeGreaterThan(5);
    const links = Array.from(readme.matchAll(/\]\(([^)#:]+)\)/g), ([, path]) => path);
    const layout = Array.from(readme.matchAll(/^((?:src|native-shim)\/\S*)/gm), ([, path]) => path);
    expect([...links, ...layout].filter((path) => !existsSync(inRepository(path)))).toEqual([]);
    expect(layout.length).toBeGreaterThan(8);
  });

  it('leads to headings that there are', () => {
    const headings = Array.from(readme.matchAll(/^#+ (.*)$/gm), ([, text]) =>
      text
        .toLowerCase()
        .replaceAll(/[^\w -]/g, '')
        .replaceAll(' ', '-'),
    );
    const anchors = Array.from(readme.matchAll(/\]\(#([^)]+)\)/g), ([, anchor]) => anchor);
    expect(anchors.filter((anchor) => !headings.includes(anchor))).toEqual([]);
    expect(anchors).not.toEqual([]);
  });

  it.each([
    [1500, 256, 1024],
    [1500, 64, 65],
    [9000, 128, 512],
    [1966, 256, 1024],
    [1967, 256, 1024],
  ])(
    'computes locked memory as the driver does: MTU %i, rings of %i, %i buffers',
    async (mtu, queue, pool) => {
      const simulated = createSimulatedDevice({ mtu });
      await using device = await NetDevice.open(simulated.transport, { queueSize: queue, poolSize: pool });
      const least = mtu + 82;
      const buffer = least > 4096 ? Math.ceil(least / 64) * 64 : 2 ** Math.ceil(Math.log2(least));
      const pages = (bytes: number): number => Math.ceil(bytes / 4096) * 4096;
      expect(device.features.has('VIRTIO_F_RING_INDIRECT_DESC')).toBe(true);
      const rings = 2 * pages(26 * queue + 12) + pages(1024 * queue);
      expect(simulated.memory.allocatedBytes).toBe(pages(pool * buffer) + rings);
      expect(device.statistics().pool.size).toBe(pool);
    },
  );
});
