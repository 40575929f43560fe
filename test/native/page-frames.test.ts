import { readFileSync } from 'node:fs';
import { beforeAll, expect, it } from 'vitest';
import { MappedMemory, pageSize } from '../../src/native/mapped-memory.js';
import { physicalPages } from '../../src/native/page-frames.js';
import { buildShim } from './build-shim.js';

beforeAll(buildShim);

const CAP_SYS_ADMIN = 21n;

function isAdministrator(): boolean {
  const effective = /^CapEff:\s+([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  return ((BigInt(`0x${effective}`) >> CAP_SYS_ADMIN) & 1n) === 1n;
}

it('finds the physical address of every page, or says that it needs the right to', () => {
  const memory = MappedMemory.allocate(64 * pageSize(), { locked: true });
  const look = (): bigint[] => physicalPages(memory.address, memory.size);
  if (isAdministrator()) {
    const pages = look();
    expect(new Set(pages).size).toBe(64);
    expect(pages.every((page) => page > 0n && page % BigInt(pageSize()) === 0n)).toBe(true);
  } else {
    expect(look).toThrow(expect.objectContaining({ code: 'NATIVE_CALL_FAILED', errno: 1 }));
  }
  memory.close();
  expect(look).toThrow(expect.objectContaining({ code: 'NATIVE_CALL_FAILED', errno: 6 }));
});
