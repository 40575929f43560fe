/** What README.md says of vhost-user, done with DPDK's testpmd. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { buildShim, SHIM_FILE } from '../native/build-shim.js';
import { describeDpdk } from '../support/describe-dpdk.js';
import { Testpmd } from '../support/testpmd.js';
import { codeBlocks, readReadme, type CodeBlock } from './readme.js';
import { run, runWell } from './run.js';
import { VHOST_USER, writeProgram } from './snippets.js';
import { copyWorkingTree, removeFolder, temporaryFolder } from './working-copy.js';

const LONG = 300_000;

/** The path that the command lines of README.md have. */
const SOCKET = '/tmp/vhost.sock';
const FRAMES = 20_000;

function blockOf(kind: string): CodeBlock {
  const block = codeBlocks(readReadme()).find((each) => each.kind === kind);
  if (block === undefined) throw new Error(`README.md has no block of the kind ${kind}`);
  return block;
}

/** The arguments of the backend as README.md gives them, with another socket. */
function backendWords(path: string, ...more: readonly string[]): string[] {
  const { code } = blockOf('testpmd');
  const [program, ...words] = code.trim().split(' ');
  expect(program).toBe('dpdk-testpmd');
  expect(code).toContain(SOCKET);
  return [...words.map((word) => word.replace(SOCKET, path)), ...more];
}

describeDpdk('what the README says of a vhost-user backend', () => {
  let sockets: string;
  let path: string;
  let folder: string;
  const environment = { ...process.env, VIRTIO_NET_SHIM: SHIM_FILE };

  beforeAll(async () => {
    buildShim();
    folder = await temporaryFolder();
    await copyWorkingTree(folder);
    const build = ['node_modules/tsup/dist/cli-default.js', '--silent', '--no-dts'];
    await runWell(process.execPath, build, { cwd: folder });
  }, LONG);
  afterAll(() => removeFolder(folder));
  beforeEach(() => {
    sockets = mkdtempSync(join(tmpdir(), 'vhost-'));
    path = join(sockets, 'vhost.sock');
  });
  afterEach(() => rmSync(sockets, { recursive: true }));

  it(
    'holds for the program, which sends a frame and gets it back',
    async () => {
      await using backend = await Testpmd.start({ path, words: backendWords(path) });
      const program = await writeProgram(blockOf(VHOST_USER), folder);
      const { status, stdout, stderr } = await run(process.execPath, [program, path], {
        cwd: folder,
        env: environment,
      });
      expect({ status, stdout, stderr }, backend.said).toEqual({
        status: 0,
        stdout: 'received 60 bytes\n',
        stderr: '',
      });
    },
    LONG,
  );

  it.each([
    ['txonly', 'rx-count.ts', /: (\d+) frames received/],
    ['rxonly', 'pktgen.ts', / (\d+) sent,/],
  ])(
    'holds for the mode %s and the example %s',
    async (mode, example, counted) => {
      const words = backendWords(path, `--forward-mode=${mode}`);
      await using backend = await Testpmd.start({ path, words });
      const tsx = 'node_modules/tsx/dist/cli.mjs';
      const device = `vhost-user:${path}`;
      const program = [tsx, `examples/${example}`, device, '--count', String(FRAMES)];
      const { status, stdout, stderr } = await run(process.execPath, program, {
        cwd: folder,
        env: environment,
      });
      expect(status, stderr + backend.said).toBe(0);
      const last = stdout.trim().split('\n').at(-1) ?? '';
      expect(Number(counted.exec(last)?.[1]), last).toBe(FRAMES);
    },
    LONG,
  );
});
