/** What a backend tells, and what it is told, in a life in which all goes well. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NetDevice, type NetDeviceOptions } from '../../../src/index.js';
import { buildShim } from '../../native/build-shim.js';
import { BackendProcess, FEATURES, PROTOCOL, type Conversation } from './backend-process.js';
import type { Script } from './fixtures/script.js';

const STATUS = 1n << 16n;
const RESET_DEVICE = 1n << 13n;
const NET_MTU = 1n << 3n;
const MAC = [2, 0, 0, 1, 2, 3];

let folder: string;
let path: string;
let backend: BackendProcess;

beforeAll(async () => {
  buildShim();
  folder = mkdtempSync(join(tmpdir(), 'vhost-'));
  path = join(folder, 'backend.sock');
  backend = await BackendProcess.start(path);
});

afterAll(async () => {
  await backend.stop();
  rmSync(folder, { recursive: true });
});

const open = (options: NetDeviceOptions = {}): Promise<NetDevice> =>
  NetDevice.open(`vhost-user:${path}`, options);

/** MAC address, status, number of queue pairs and MTU. */
const configOf = (mac: readonly number[], mtu: number): number[] => [
  ...mac,
  0,
  0,
  0,
  0,
  mtu & 0xff,
  mtu >> 8,
];

/** Without what comes for each ring, and statuses. */
function outline(asked: readonly string[]): string[] {
  return asked.filter((name) => !name.includes('VRING') && !name.includes('STATUS'));
}

describe('a vhost-user backend', () => {
  for (const [kind, protocol, resets] of [
    ['a status', PROTOCOL, []],
    ['a reset', (PROTOCOL & ~STATUS) | RESET_DEVICE, ['RESET_DEVICE']],
    ['neither status nor reset', PROTOCOL & ~STATUS, []],
  ] as const) {
    it(`that has ${kind} is told everything anew after a stop`, async () => {
      await backend.play({ protocol: String(protocol) });
      const device = await open();
      await device.start();
      await device.stop();
      await device.start();
      await device.close();
      const started = ['SET_FEATURES', 'SET_MEM_TABLE'];
      const greeting = ['SET_OWNER', 'GET_FEATURES', 'GET_PROTOCOL_FEATURES', 'SET_PROTOCOL_FEATURES'];
      const asked = outline(await backend.asked()).slice(greeting.length + 2);
      expect(asked.slice(0, 6)).toEqual(
        [...resets, ...started, ...resets, ...started, ...resets].slice(0, 6),
      );
      expect(asked.filter((name) => name === 'SET_MEM_TABLE')).toHaveLength(2);
    });
  }

  it('may answer in pieces', async () => {
    await backend.play({ pieces: true, config: configOf(MAC, 1500) });
    const device = await open();
    await device.start();
    expect(device.mac).toBe('02:00:00:01:02:03');
    await device.close();
    expect(await backend.asked()).toContain('GET_VRING_BASE');
  });

  it('that does not take a number of queue pairs is left with the one that it had', async () => {
    const play = async (script: Partial<Script>): Promise<Conversation> => {
      await backend.play(script);
      const device = await open({ queuePairs: 2 });
      await device.start();
      await device.setQueuePairs(1);
      const setting = device.setQueuePairs(2);
      if (script.fault === undefined) await setting;
      else await expect(setting).rejects.toMatchObject({ code: 'CONTROL_COMMAND_REFUSED' });
      expect([device.state, device.queuePairs]).toEqual(['running', script.fault === undefined ? 2 : 1]);
      await device.close();
      return backend.conversation();
    };
    const { asked, enables } = await play({});
    const use = (pairs: number): [number, number][] =>
      [0, 1, 2, 3].map((queue) => [queue, +(queue < 2 * pairs)]);
    const none = [0, 1, 2, 3].map((queue) => [queue, 0]);
    // As it begins, and as it was opened.
    const started = [...use(1), ...use(2)];
    expect(enables).toEqual([...started, ...use(1), ...use(2), ...none]);
    const turns = asked.flatMap((name, index) => (name === 'SET_VRING_ENABLE' ? [index] : []));
    const refused = await play({ fault: 'refuse', at: turns[3 * 4 + 2] });
    expect(refused.enables).toEqual([...started, ...use(1), ...use(2).slice(0, 3), ...use(1), ...none]);
  });

  it('gives the card its address and MTU, where it tells those', async () => {
    await backend.play({ config: configOf(MAC, 9000) });
    const device = await open();
    expect([device.mac, device.mtu]).toEqual(['02:00:00:01:02:03', 9000]);
    await device.close();

    const chosen = await open({ vhostUser: { mac: '02:00:00:00:00:09', mtu: 2000 } });
    expect([chosen.mac, chosen.mtu]).toEqual(['02:00:00:00:00:09', 2000]);
    await chosen.close();
  });

  it('does not give it what can not be, or what it does not offer', async () => {
    for (const mac of [[0, 0, 0, 0, 0, 0], [1, 0, 0x5e, 0, 0, 1], Array(6).fill(255) as number[]]) {
      await backend.play({ config: configOf(mac, 67) });
      const device = await open();
      expect(device.macBytes[0] & 3).toBe(2);
      expect([...device.macBytes]).not.toEqual(mac);
      expect(device.mtu).toBe(1500);
      await device.close();
    }
    await backend.play({ features: String(FEATURES & ~NET_MTU), config: configOf(MAC, 9000) });
    const device = await open();
    expect(device.mtu).toBe(1500);
    await device.close();
  });

  it('that is back with another address is the card that it was', async () => {
    await backend.play({ config: configOf(MAC, 1500) });
    const device = await open();
    await device.start();
    const recovered = once(device, 'recovered');
    await backend.play({ drop: true, config: configOf([2, 9, 9, 9, 9, 9], 1500) });
    await recovered;
    expect(device.mac).toBe('02:00:00:01:02:03');
    await device.close();
  });
});
