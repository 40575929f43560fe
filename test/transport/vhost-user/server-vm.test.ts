/** A socket of ours, to which DPDK's vhost connects. */
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { NetDevice } from 'virtio-net';
import { openFileCount } from '../../native/process-state.js';
import { describeDpdk } from '../../support/describe-dpdk.js';
import { Testpmd } from '../../support/testpmd.js';
import { makeFrames, receivePolled, transmit, WAIT_MS } from './frames.js';

let folder: string;
let path: string;

describeDpdk('a device that DPDK’s vhost connects to', () => {
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'vhost-'));
    path = join(folder, 'ours.sock');
  });

  afterEach(() => rmSync(folder, { recursive: true }));

  it('waits for it, goes on with the next one, and leaves no socket', async () => {
    const before = openFileCount();
    const opening = NetDevice.open(`vhost-user:${path}`, { vhostUser: { server: true } });
    await expect.poll(() => existsSync(path), { timeout: WAIT_MS }).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const first = await Testpmd.start({ path, client: true });
    const device = await opening;
    await device.start();
    for (const frame of makeFrames(20)) expect(transmit(device, 0, frame)).toBe(1);
    expect(await receivePolled(device, 20)).toEqual(makeFrames(20));
    first.freeze();
    for (const frame of makeFrames(30)) expect(transmit(device, 0, frame)).toBe(1);
    await first.kill();
    await expect.poll(() => device.state, { timeout: WAIT_MS }).toBe('recovering');
    const second = await Testpmd.start({ path, client: true });
    expect(await receivePolled(device, 30)).toEqual(makeFrames(30));
    await device.close();
    expect(existsSync(path)).toBe(false);
    await second.kill();
    expect(openFileCount()).toBe(before);
  });
});
