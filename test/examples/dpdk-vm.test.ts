/** The polled examples with DPDK's testpmd at the other end of a UNIX socket. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { describeDpdk } from '../support/describe-dpdk.js';
import { Testpmd } from '../support/testpmd.js';
import { startExample, totals } from './start-example.js';

const FRAMES = 100_000;
const BYTES = 64 * FRAMES;

let folder: string;
const running: Testpmd[] = [];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'vhost-'));
});

afterEach(async () => {
  for (const dpdk of running.splice(0)) await dpdk.kill();
});

afterAll(() => rmSync(folder, { recursive: true }));

/** A testpmd, and what the library calls it. */
async function peer(name: string, forward: 'txonly' | 'rxonly'): Promise<{ device: string; dpdk: Testpmd }> {
  const path = join(folder, name);
  const dpdk = await Testpmd.start({ path, forward });
  running.push(dpdk);
  return { device: `vhost-user:${path}`, dpdk };
}

/** How many frames it has received, by the last statistics that it printed. */
const receivedBy = (dpdk: Testpmd): number =>
  Number(Array.from(dpdk.said.matchAll(/RX-packets: (\d+)/g)).at(-1)?.[1] ?? 0);

describeDpdk('the polled examples, with DPDK', () => {
  it('count what comes', async () => {
    const { device } = await peer('counted', 'txonly');
    const { status, stdout, stderr } = await startExample(`rx-count ${device} --count ${FRAMES}`).ended;
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(totals(stdout)).toEqual([[FRAMES, BYTES, 0, 0]]);
  });

  it('generate what arrives', async () => {
    const { device, dpdk } = await peer('generated', 'rxonly');
    const { status, stdout, stderr } = await startExample(`pktgen ${device} --count ${FRAMES}`).ended;
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(totals(stdout)).toEqual([[0, 0, FRAMES, BYTES]]);
    await expect.poll(() => receivedBy(dpdk), { timeout: 10_000 }).toBe(FRAMES);
  });

  it('forward from one to another, which gets all that was sent', async () => {
    const from = await peer('from', 'txonly');
    const to = await peer('to', 'rxonly');
    const words = `forward ${from.device} ${to.device} --count ${FRAMES}`;
    const { status, stdout, stderr } = await startExample(words).ended;
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const [one, other] = totals(stdout);
    expect(one[0]).toBeGreaterThanOrEqual(FRAMES);
    expect([one.slice(2), other]).toEqual([
      [0, 0],
      [0, 0, FRAMES, BYTES],
    ]);
    await expect.poll(() => receivedBy(to.dpdk), { timeout: 10_000 }).toBe(FRAMES);
  });

  it('send back what comes, until Ctrl-C', async () => {
    const { device } = await peer('back', 'txonly');
    const { program, ended } = startExample(`forward ${device}`);
    await once(program.stdout, 'data');
    program.kill('SIGINT');
    const { status, stdout, stderr } = await ended;
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const [[received, , sent]] = totals(stdout);
    expect(sent).toBeGreaterThan(0);
    expect(received).toBeGreaterThanOrEqual(sent);
  });
});
