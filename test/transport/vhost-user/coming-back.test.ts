/** Backends that go and come back, as others than they were, or not quite. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { NetDevice } from '../../../src/index.js';
import { buildShim } from '../../native/build-shim.js';
import { openFileCount } from '../../native/process-state.js';
import { BackendProcess, FEATURES } from './backend-process.js';
import { WAIT_MS } from './frames.js';

let folder: string;
let path: string;
let backend: BackendProcess;

beforeEach(async () => {
  buildShim();
  folder = mkdtempSync(join(tmpdir(), 'vhost-'));
  path = join(folder, 'backend.sock');
  backend = await BackendProcess.start(path);
});

afterEach(async () => {
  vi.restoreAllMocks();
  await backend.stop();
  rmSync(folder, { recursive: true });
});

/** How long a connection lasts that is no failed attempt. */
const LASTING_MS = 200;

/** Pauses of timers, in milliseconds, in the order in which they were begun. */
function watchTimers(): number[] {
  const pauses: number[] = [];
  const begin = globalThis.setTimeout;
  vi.spyOn(globalThis, 'setTimeout').mockImplementation(((callback: () => void, pause: number) => {
    pauses.push(pause);
    return begin(callback, pause);
  }) as typeof setTimeout);
  return pauses;
}

const open = (options: { timeout?: number; server?: boolean } = {}): Promise<NetDevice> =>
  NetDevice.open(`vhost-user:${path}`, { queuePairs: 2, vhostUser: options });

/** What a backend is asked from the beginning to the end of a device. */
async function requests(): Promise<string[]> {
  await backend.play();
  const device = await open();
  await device.start();
  await device.close();
  return backend.asked();
}

describe('a vhost-user backend that comes back', { timeout: 60_000 }, () => {
  it('is tried again whatever step of its return it ends at', async () => {
    await backend.play();
    const device = await open();
    await device.start();
    const before = openFileCount();
    let recoveries = 0;
    device.on('recovered', () => (recoveries += 1));
    for (let at = 0; at < 40; at += 1) {
      const had = recoveries;
      await backend.play({ drop: true, fault: 'close', at });
      await expect.poll(() => device.state, { timeout: WAIT_MS }).toBe('recovering');
      await backend.asked();
      await backend.play({ drop: true });
      await expect.poll(() => recoveries, { timeout: WAIT_MS }).toBeGreaterThan(had);
      await expect.poll(() => device.state, { timeout: WAIT_MS }).toBe('running');
      expect(device.linkUp).toBe(true);
      // One that does not last is tried again more and more slowly.
      await sleep(LASTING_MS);
    }
    expect(openFileCount()).toBe(before);
    await device.close();
  });

  it('is tried more and more slowly where it goes as soon as it is there', async () => {
    const at = (await requests()).indexOf('SET_MEM_TABLE');
    expect(at).toBeGreaterThan(0);
    const device = await open();
    await device.start();
    const pauses = watchTimers();
    await backend.play({ drop: true, fault: 'close', at });
    const rising = [10, 20, 50, 100, 200];
    await expect
      .poll(() => pauses.filter((pause) => rising.includes(pause)), { timeout: WAIT_MS })
      .toEqual(expect.arrayContaining(rising));
    expect(device.state).toBe('recovering');
    await backend.play({ drop: true });
    await expect.poll(() => device.state, { timeout: WAIT_MS }).toBe('running');
    await device.close();
  });

  it('does not hold up a program where it does not answer', async () => {
    const asked = await requests();
    const device = await open({ timeout: 60_000 });
    await device.start();
    for (const request of ['GET_FEATURES', 'GET_PROTOCOL_FEATURES', 'GET_QUEUE_NUM', 'GET_CONFIG']) {
      const at = asked.indexOf(request);
      expect(at, request).toBeGreaterThan(0);
      await backend.play({ drop: true, fault: 'silence', at });
      await expect.poll(() => device.state, { timeout: WAIT_MS }).toBe('recovering');
      // Whoever waits for an answer with the whole thread does so for a minute.
      await sleep(LASTING_MS);
      await backend.play({ drop: true });
      await expect.poll(() => device.state, { timeout: WAIT_MS }).toBe('running');
    }
    await device.close();
  });

  it('is told apart from one that lacks what was negotiated, and does for a reset when it is the old one', async () => {
    await backend.play();
    const device = await open();
    await device.start();
    const errors: unknown[] = [];
    device.on('error', (error) => errors.push(error));
    await backend.play({ drop: true, features: String(FEATURES & ~(1n << 15n)) });
    await expect.poll(() => device.state, { timeout: WAIT_MS }).toBe('failed');
    expect(errors).toEqual([expect.objectContaining({ code: 'DEVICE_FEATURE_MISSING' })]);
    expect(() => device.poll()).toThrow(expect.objectContaining({ code: 'DEVICE_FEATURE_MISSING' }));
    await backend.play({ drop: true });
    const reset = (): Promise<string> =>
      device.reset().then(
        () => device.state,
        () => 'not yet',
      );
    await expect.poll(reset, { timeout: WAIT_MS }).toBe('running');
    await device.close();
  });

  it('may have fewer queues only where they are not used', async () => {
    await backend.play();
    const device = await open();
    await device.start();
    await backend.play({ drop: true, queues: 1 });
    await expect.poll(() => device.state, { timeout: WAIT_MS }).toBe('failed');
    await expect(device.send(new Uint8Array(60))).rejects.toMatchObject({ code: 'DEVICE_QUEUE_UNAVAILABLE' });
    await device.close();
  });

  it('can be one that connects, with others in between that do not keep to the protocol', async () => {
    const opening = open({ server: true });
    await backend.play({ client: true });
    const device = await opening;
    await device.start();
    for (const fault of ['garbage', 'close', 'huge'] as const) {
      await backend.play({ client: true, drop: true, fault, at: 0 });
      await backend.asked();
      await expect.poll(() => device.state, { timeout: WAIT_MS }).toBe('recovering');
    }
    await backend.play({ client: true });
    await expect.poll(() => device.state, { timeout: WAIT_MS }).toBe('running');
    await device.close();
  });

  it('is not waited for by a device that is closed, nor by an opening that is given up', async () => {
    const before = openFileCount();
    await backend.play();
    const device = await open();
    await device.start();
    await backend.play({ drop: true, fault: 'silence', at: 0 });
    await expect.poll(() => device.state, { timeout: WAIT_MS }).toBe('recovering');
    await device.close();
    const abort = new AbortController();
    const opening = NetDevice.open(`vhost-user:${path}`, {
      signal: abort.signal,
      vhostUser: { timeout: 60_000 },
    });
    abort.abort(new Error('given up'));
    await expect(opening).rejects.toThrow('given up');
    expect(openFileCount()).toBe(before);
  });
});
