/** Queue pairs of a device behind DPDK's vhost in worker threads. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { NetDevice } from '../../../src/index.js';
import { openFileCount } from '../../native/process-state.js';
import { describeDpdk } from '../../support/describe-dpdk.js';
import { Testpmd } from '../../support/testpmd.js';
import { makeFrame, receivePolled, transmit, WAIT_MS } from './frames.js';

const BODY = new URL('./fixtures/echo-worker.ts', import.meta.url).href;
const START = `import('tsx/esm/api').then(({ register }) => { register(); return import('${BODY}'); })`;

let folder: string;
let path: string;
let backend: Testpmd;

async function restart(): Promise<void> {
  rmSync(path, { force: true });
  backend = await Testpmd.start({ path, queues: 2 });
}

interface Told {
  readonly state?: string;
  readonly sent?: number;
  readonly numbers?: number[];
}

/** A worker with a pair, and what it has told. */
class EchoWorker extends Worker {
  readonly told: Told[] = [];

  constructor(device: NetDevice, pair: number) {
    const shared = device.shareQueuePair(pair);
    super(START, { eval: true, execArgv: [], workerData: shared, transferList: shared.transferList });
    this.on('message', (message: Told) => this.told.push(message));
  }

  async hear<T>(pick: (told: Told) => T | undefined): Promise<T | undefined> {
    await expect
      .poll(() => this.told.some((each) => pick(each) !== undefined), { timeout: WAIT_MS })
      .toBe(true);
    const at = this.told.findIndex((each) => pick(each) !== undefined);
    return pick(this.told.splice(0, at + 1)[at]);
  }

  isState(wanted: string): Promise<true | undefined> {
    return this.hear(({ state }) => (state === wanted ? true : undefined));
  }
}

const upTo = (count: number): number[] => [...Array(count).keys()];

describeDpdk('a queue pair in a worker, behind DPDK’s vhost', () => {
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'vhost-'));
    path = join(folder, 'backend.sock');
    await restart();
  }, 60_000);

  afterEach(async () => {
    await backend.kill();
    rmSync(folder, { recursive: true });
  });

  for (const interrupts of [true, false]) {
    it(`works for itself, and is given back: ${interrupts ? 'interrupts' : 'polling'}`, async () => {
      const before = openFileCount();
      const device = await NetDevice.open(`vhost-user:${path}`, { queuePairs: 2, interrupts });
      const worker = new EchoWorker(device, 1);
      await worker.isState('stopped');
      for (let round = 0; round < 2; round += 1) {
        await device.start();
        await worker.isState('running');
        worker.postMessage({ send: 100, expect: 100 });
        expect(await worker.hear(({ numbers }) => numbers)).toEqual(
          upTo(100).map((number) => number + 100 * round),
        );
        // The other pair stays with this thread.
        expect(transmit(device, 0, makeFrame(70, 1))).toBe(1);
        expect(await receivePolled(device, 1)).toEqual([makeFrame(70, 1)]);
        await device.stop();
        await worker.isState('stopped');
      }
      await device.close();
      await worker.isState('closed').catch(() => undefined);
      await worker.terminate();
      await expect.poll(openFileCount, { timeout: WAIT_MS }).toBe(before);
    });
  }

  it('goes on with its frames when the backend ends and is back', async () => {
    const device = await NetDevice.open(`vhost-user:${path}`, { queuePairs: 2 });
    const worker = new EchoWorker(device, 1);
    await worker.isState('stopped');
    await device.start();
    await worker.isState('running');
    worker.postMessage({ send: 50, expect: 50 });
    expect(await worker.hear(({ numbers }) => numbers)).toEqual(upTo(50));
    backend.freeze();
    worker.postMessage({ send: 100, expect: 100 });
    await worker.hear(({ sent }) => sent);
    await backend.kill();
    await worker.isState('recovering');
    await sleep(50);
    await restart();
    await worker.isState('running');
    expect(await worker.hear(({ numbers }) => numbers)).toEqual(upTo(100).map((number) => number + 50));
    await device.close();
    await worker.terminate();
  });
});
