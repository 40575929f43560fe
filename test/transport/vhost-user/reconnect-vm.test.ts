/** What becomes of frames when DPDK's vhost ends and is started again. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { NetDevice, type FeatureName, type PacketBuffer } from 'virtio-net';
import { describeDpdk } from '../../support/describe-dpdk.js';
import { Testpmd } from '../../support/testpmd.js';
import { makeFrame, makeFrames, receivePolled, transmit, WAIT_MS } from './frames.js';

let folder: string;
let path: string;
let backend: Testpmd;

/** That lead to the backend's process. */
const PIPES = 3;

const openFiles = (): number => readdirSync('/proc/self/fd').length;

/** Starts it anew at the same path. */
async function restart(): Promise<void> {
  rmSync(path, { force: true });
  backend = await Testpmd.start({ path, queues: 2 });
}

const RINGS: [string, FeatureName[]][] = [
  ['packed', []],
  ['packed, any order', ['VIRTIO_F_IN_ORDER']],
  ['split', ['VIRTIO_F_RING_PACKED']],
  ['split, any order', ['VIRTIO_F_RING_PACKED', 'VIRTIO_F_IN_ORDER']],
];

describeDpdk('a device whose backend ends and comes back', () => {
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'vhost-'));
    path = join(folder, 'backend.sock');
    await restart();
  }, 60_000);

  afterEach(async () => {
    await backend.kill();
    rmSync(folder, { recursive: true });
  });

  for (const [rings, unwanted] of RINGS) {
    for (const interrupts of [true, false]) {
      it(`sends all that the backend had not taken: ${rings}, ${interrupts ? 'interrupts' : 'polling'}`, async () => {
        const before = openFiles();
        const device = await NetDevice.open(`vhost-user:${path}`, { features: { unwanted }, interrupts });
        const events: unknown[] = [];
        device.on('link', (up) => events.push(up));
        device.on('state', (state) => events.push(state));
        device.on('recovered', ({ reason, lost }) => events.push(reason, lost));
        await device.start();
        // So that the rings are somewhere in the middle.
        for (const frame of makeFrames(100)) {
          expect(transmit(device, 0, frame)).toBe(1);
          expect(await receivePolled(device, 1)).toEqual([frame]);
        }
        backend.freeze();
        const frames = makeFrames(200, [60, 1000]);
        for (const frame of frames) expect(transmit(device, 0, frame)).toBe(1);
        await backend.kill();
        await expect.poll(() => device.state, { timeout: WAIT_MS }).toBe('recovering');
        expect(device.linkUp).toBe(false);
        expect(transmit(device, 0, makeFrame(60, 0))).toBe(0);
        const waiting = [makeFrame(61, 1), makeFrame(62, 2)];
        const sent = Promise.all(waiting.map((frame) => device.send(frame)));
        await restart();
        expect(await receivePolled(device, 202)).toEqual([...frames, ...waiting]);
        await sent;
        expect(device.linkUp).toBe(true);
        expect(events).toEqual([
          'starting',
          'running',
          false,
          'recovering',
          'running',
          true,
          expect.objectContaining({ code: 'VHOST_USER_DISCONNECTED' }),
          [{ queuePair: 0, receive: 0, transmit: 0 }],
        ]);
        await device.flush();
        await device.close();
        expect(openFiles()).toBe(before);
      });
    }
  }

  it('keeps received frames that nobody had taken', async () => {
    const device = await NetDevice.open(`vhost-user:${path}`);
    await device.start();
    const frames = makeFrames(50);
    for (const frame of frames) expect(transmit(device, 0, frame)).toBe(1);
    await expect.poll(() => backend.forwarded, { timeout: WAIT_MS }).toBe(50);
    await backend.kill();
    await expect.poll(() => device.state, { timeout: WAIT_MS }).toBe('recovering');
    await restart();
    expect(await receivePolled(device, 50)).toEqual(frames);
    await device.close();
  });

  it('is ended again and again while traffic flows, and goes on', async () => {
    const device = await NetDevice.open(`vhost-user:${path}`, { queuePairs: 2 });
    await device.start();
    let done = false;
    let received = 0;
    device.on('frame', () => (received += 1));
    const sending = (async () => {
      for (let number = 0; !done; number += 1) {
        await device.send(makeFrame(64, number));
        if (number % 32 === 0) await sleep(1);
      }
    })();
    for (let round = 0; round < 3; round += 1) {
      const { length } = [...Array(received).keys()];
      await expect.poll(() => received, { timeout: WAIT_MS }).toBeGreaterThan(length + 100);
      await backend.kill();
      await sleep(50 * round);
      await restart();
    }
    await expect.poll(() => device.state, { timeout: WAIT_MS }).toBe('running');
    done = true;
    await sending;
    expect(device.queuePairs).toBe(2);
    await device.close();
  });

  it('neither hangs nor crashes a program that polls without a turn of the event loop', async () => {
    const device = await NetDevice.open(`vhost-user:${path}`, { interrupts: false });
    await device.start();
    const { pid } = backend;
    if (pid === undefined) throw new Error('testpmd has no pid');
    process.kill(pid, 'SIGKILL');
    // The ring fills up, and the pool runs dry: nothing more is taken.
    const batch: PacketBuffer[] = [];
    const frame = makeFrame(60, 0);
    let taken = 0;
    for (let round = 0; round < 10_000; round += 1) {
      const count = device.allocateBatch(batch, 8);
      const sent = device.transmit(
        batch,
        batch.slice(0, count).map((packet) => packet.setFrame(frame)).length,
      );
      for (const packet of batch.slice(sent, count)) packet.release();
      taken += sent;
      device.receive(batch);
      device.poll();
    }
    expect(taken).toBeGreaterThan(0);
    expect(device.state).toBe('running');
    await backend.kill();
    await expect.poll(() => device.state, { timeout: WAIT_MS }).toBe('recovering');
    await restart();
    await expect.poll(() => device.state, { timeout: WAIT_MS }).toBe('running');
    await device.close();
  });

  it('says that it was taken away where it was not to wait', async () => {
    const before = openFiles();
    const device = await NetDevice.open(`vhost-user:${path}`, { vhostUser: { reconnect: false } });
    const events: unknown[] = [];
    device.on('removed', () => events.push('removed'));
    device.on('close', () => events.push('close'));
    await device.start();
    await backend.kill();
    await expect.poll(() => events, { timeout: WAIT_MS }).toEqual(['removed', 'close']);
    await expect(device.send(makeFrame(60, 0))).rejects.toMatchObject({ code: 'DEVICE_REMOVED' });
    // Those of the backend have gone too.
    expect(openFiles()).toBe(before - PIPES);
  });

  it('can be stopped, and closed, while its backend is away, and started when it is back', async () => {
    const device = await NetDevice.open(`vhost-user:${path}`);
    await device.start();
    await backend.kill();
    await expect.poll(() => device.state, { timeout: WAIT_MS }).toBe('recovering');
    const waiting = device.send(makeFrame(60, 0));
    await Promise.all([device.stop(), expect(waiting).rejects.toMatchObject({ code: 'DEVICE_NOT_STARTED' })]);
    await expect(device.start()).rejects.toMatchObject({ code: 'VHOST_USER_DISCONNECTED' });
    expect(device.state).toBe('stopped');
    await restart();
    await expect
      .poll(
        () =>
          device.start().then(
            () => device.state,
            () => 'not yet',
          ),
        { timeout: WAIT_MS },
      )
      .toBe('running');
    await backend.kill();
    await device.close();
  });
});
