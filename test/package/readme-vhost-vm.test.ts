/** What README.md says of vhost-user, done with DPDK's testpmd. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { buildShim, SHIM_FILE } from '../native/build-shim.js';
import { describeDpdk } from '../support/describe-dpdk.js';
import { Testpmd } from '../support/testpmd.js';
import { codeBlocks, readReadme } from './readme.js';
import { run, runWell } from './run.js';
import { VHOST_USER, writeProgram } from './snippets.js';
import { copyWorkingTree, removeFolder, temporaryFolder } from './working-copy.js';

const LONG = 300_000;

describeDpdk('the program of the README for a vhost-user backend', () => {
  it(
    'sends a frame and gets it back',
    async () => {
      const block = codeBlocks(readReadme()).find(({ kind }) => kind === VHOST_USER);
      if (block === undefined) throw new Error(`README.md has no block: js ${VHOST_USER}`);
      buildShim();
      const sockets = mkdtempSync(join(tmpdir(), 'vhost-'));
      const folder = await temporaryFolder();
      try {
        await copyWorkingTree(folder);
        await runWell(process.execPath, ['node_modules/tsup/dist/cli-default.js', '--silent', '--no-dts'], {
          cwd: folder,
        });
        const path = join(sockets, 'vhost.sock');
        await using backend = await Testpmd.start({ path });
        const program = await writeProgram(block, folder);
        const { status, stdout, stderr } = await run(process.execPath, [program, path], {
          cwd: folder,
          env: { ...process.env, VIRTIO_NET_SHIM: SHIM_FILE },
        });
        expect({ status, stdout, stderr }, backend.said).toEqual({
          status: 0,
          stdout: 'received 60 bytes\n',
          stderr: '',
        });
      } finally {
        rmSync(sockets, { recursive: true });
        await removeFolder(folder);
      }
    },
    LONG,
  );
});
