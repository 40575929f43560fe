/** What a worker is given of a card: memory, an eventfd and a register, all of them real but for the card. */
import { once } from 'node:events';
import { mkdtempSync, openSync, closeSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { beforeAll, expect, it } from 'vitest';
import { EventFd } from '../../src/native/event-fd.js';
import { MappedMemory, pageSize } from '../../src/native/mapped-memory.js';
import { MmioMapping } from '../../src/native/mmio.js';
import { buildShim } from '../native/build-shim.js';
import { openFileCount } from '../native/process-state.js';

const BODY = new URL('./fixtures/native-access-worker.ts', import.meta.url).href;
const START = `import('tsx/esm/api').then(({ register }) => { register(); return import('${BODY}'); })`;

beforeAll(buildShim);

it('lets a worker see memory, hear an eventfd and write a register, also when they are given back', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'registers-'));
  const file = join(folder, 'bar');
  writeFileSync(file, new Uint8Array(pageSize()));
  const fd = openSync(file, 'r+');
  const registers = MmioMapping.map(fd, 0, pageSize());
  closeSync(fd);
  const filesBefore = openFileCount();
  const event = EventFd.create();
  const memory = MappedMemory.allocate(pageSize());
  memory.share();
  const bytes = new Uint8Array(memory.buffer).fill(1);
  const doorbells = [
    { address: registers.share(8, 2), width: 2, id: 3 },
    { address: registers.share(12, 4), width: 4, id: 5 },
  ];
  const worker = new Worker(START, {
    eval: true,
    execArgv: [],
    workerData: { memory: { address: memory.address, size: memory.size }, fd: event.fd, doorbells },
  });
  expect(await once(worker, 'message')).toEqual([{ ready: true }]);
  event.signal();
  expect(await once(worker, 'message')).toEqual([{ heard: 1, saw: 1 }]);
  expect(bytes[0]).toBe(2);
  expect([registers.read(8, 2), registers.read(12, 4)]).toEqual([3, 0x8001_0005]);

  memory.close();
  registers.close();
  expect(bytes).toHaveLength(0);
  worker.postMessage('look');
  // The views show other pages, and what is written leads nowhere.
  expect(await once(worker, 'message')).toEqual([{ heard: 2, saw: 0 }]);
  expect(new Uint16Array(Uint8Array.from(readFileSync(file)).buffer)[4]).toBe(3);
  worker.postMessage('close');
  expect(await once(worker, 'message')).toEqual([{ length: 0 }]);
  await worker.terminate();
  event.close();
  expect(openFileCount()).toBe(filesBefore);
  rmSync(folder, { recursive: true });
});
