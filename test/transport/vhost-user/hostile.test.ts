/** Backends that do something wrong at each step, one after another: none may hang or crash a program, or leave files. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NetDevice, VirtioNetError, type NetDeviceOptions } from '../../../src/index.js';
import { buildShim } from '../../native/build-shim.js';
import { openFileCount } from '../../native/process-state.js';
import { BackendProcess, FEATURES, PROTOCOL } from './backend-process.js';
import { FAULTS, type Fault, type Script } from './fixtures/script.js';

/** Long enough for an answer that comes, and short where none does. */
const TIMEOUT = 10_000;
const SHORT_TIMEOUT = 60;
const INVALID = ['VHOST_USER_MESSAGE_INVALID'];
/** What may come of each fault, where it has an effect. */
const CODES: Record<Fault, readonly string[]> = {
  close: ['VHOST_USER_DISCONNECTED'],
  silence: ['VHOST_USER_TIMEOUT'],
  refuse: ['VHOST_USER_REFUSED', 'DEVICE_FEATURES_REFUSED', 'CONTROL_COMMAND_REFUSED'],
  'other-request': INVALID,
  'other-version': INVALID,
  'no-reply-flag': INVALID,
  oversized: INVALID,
  undersized: INVALID,
  huge: INVALID,
  half: ['VHOST_USER_TIMEOUT'],
  descriptor: INVALID,
  garbage: INVALID,
};

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

interface Outcome {
  /** The code of what was thrown, by the step of the device; undefined where nothing was. */
  readonly code: string | undefined;
  readonly step: 'open' | 'start' | 'stop' | 'close' | undefined;
}

/** The whole life of a device; what fails ends it. */
async function live(options: NetDeviceOptions = {}): Promise<Outcome> {
  let device: NetDevice | undefined;
  let step: Outcome['step'] = 'open';
  try {
    device = await NetDevice.open(`vhost-user:${path}`, {
      queuePairs: 2,
      ...options,
      vhostUser: { timeout: TIMEOUT, reconnect: false, ...options.vhostUser },
    });
    step = 'start';
    await device.start();
    step = 'stop';
    await device.stop();
    step = 'close';
    await device.close();
    return { code: undefined, step: undefined };
  } catch (error) {
    expect(error).toBeInstanceOf(VirtioNetError);
    if (device !== undefined && device.state !== 'closed') await device.close().catch(() => undefined);
    return { code: (error as VirtioNetError).code, step };
  }
}

/** Kinds of backends, by the protocol features that they offer. */
const KINDS: [string, Partial<Script>][] = [
  ['with acknowledgements', {}],
  ['without acknowledgements', { protocol: String(PROTOCOL & ~(1n << 3n)) }],
];

describe('a vhost-user backend that fails', () => {
  for (const [kind, script] of KINDS) {
    for (const fault of FAULTS) {
      it(`at each step in turn: ${fault}, ${kind}`, { timeout: 60_000 }, async () => {
        await backend.play(script);
        expect(await live()).toEqual({ code: undefined, step: undefined });
        const asked = await backend.asked();
        expect(asked).toEqual(expect.arrayContaining(['SET_OWNER', 'SET_MEM_TABLE', 'GET_VRING_BASE']));
        const before = openFileCount();
        const outcomes: Outcome[] = [];
        for (let at = 0; at < asked.length; at += 1) {
          await backend.play({ ...script, fault, at });
          const timeout = CODES[fault].includes('VHOST_USER_TIMEOUT') ? SHORT_TIMEOUT : TIMEOUT;
          const outcome = await live({ vhostUser: { timeout } });
          outcomes.push(outcome);
          if (outcome.code !== undefined) {
            expect([...CODES[fault], 'DEVICE_REMOVED'], `${asked[at]}, ${at}`).toContain(outcome.code);
          }
          expect(openFileCount(), `${asked[at]}, ${at}: ${outcome.code}`).toBe(before);
        }
        // Up to the first ring at least nothing goes on without an answer.
        const greeting = asked.indexOf('SET_FEATURES');
        const failed = outcomes.slice(0, greeting).filter(({ step }) => step === 'open');
        if (fault !== 'refuse') expect(failed).toHaveLength(greeting);
        else expect(outcomes.some(({ code }) => code !== undefined)).toBe(script.protocol === undefined);
        // It is not the program that has to be restarted.
        await backend.play(script);
        expect(await live()).toEqual({ code: undefined, step: undefined });
      });
    }
  }

  it('is said not to have what the device needs', async () => {
    const lacking: [Partial<Script>, NetDeviceOptions, string][] = [
      [{ features: String(FEATURES & ~(1n << 32n)) }, {}, 'DEVICE_FEATURE_MISSING'],
      [{ queues: 1 }, {}, 'QUEUE_PAIRS_TOO_FEW'],
      [{ queues: 0 }, {}, 'VHOST_USER_MESSAGE_INVALID'],
      [{ features: String(FEATURES & ~(1n << 22n)) }, {}, 'QUEUE_PAIRS_TOO_FEW'],
      [{}, { features: { required: ['VIRTIO_F_RING_PACKED'] } }, 'DEVICE_FEATURE_MISSING'],
    ];
    const before = openFileCount();
    for (const [script, options, code] of lacking) {
      await backend.play(script);
      expect(await live(options)).toEqual({ code, step: 'open' });
      expect(openFileCount()).toBe(before);
    }
  });

  it('without protocol features has one queue pair, and works', async () => {
    await backend.play({ features: String(FEATURES & ~(1n << 30n)) });
    expect(await live({ queuePairs: 1 })).toEqual({ code: undefined, step: undefined });
    expect(await backend.asked()).not.toContain('SET_VRING_ENABLE');
  });
});
