import { beforeAll, expect, it, vi } from 'vitest';
import { MappedMemory, pageSize } from '../../src/native/mapped-memory.js';
import { buildShim } from './build-shim.js';
import { mappingsAt } from './process-state.js';

vi.mock('../../src/native/node-functions.js', () => ({ detachArrayBuffer: () => false }));

beforeAll(buildShim);

it('retires memory in place where its ArrayBuffer can not be detached', () => {
  const memory = MappedMemory.allocate(2 * pageSize());
  const bytes = new Uint8Array(memory.buffer).fill(7);
  expect(mappingsAt(memory.address)[0]).toMatch(/rw-s/);
  memory.close();
  memory.close();
  expect(mappingsAt(memory.address)[0]).toMatch(/rw-p/);
  expect(bytes).toHaveLength(2 * pageSize());
  expect(bytes.every((byte) => byte === 0)).toBe(true);
  bytes[pageSize()] = 1;
  expect(bytes[pageSize()]).toBe(1);
});
