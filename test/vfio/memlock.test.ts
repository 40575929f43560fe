import { describe, expect, it } from 'vitest';
import { parseMemlock, pinningError } from '../../src/vfio/memlock.js';

const limits = (soft: string): string =>
  `Limit                     Soft Limit           Hard Limit           Units\n` +
  `Max processes             95686                95686                processes\n` +
  `Max locked memory         ${soft.padEnd(20)} unlimited            bytes\n`;
const status = (lockedKib: number, capabilities: string): string =>
  `Name:\tnode\nVmLck:\t${String(lockedKib).padStart(8)} kB\nVmPin:\t       4 kB\nCapEff:\t${capabilities}\n`;
const NONE = '0000000000000000';
const ALL = '000001ffffffffff';
const NO_NAMESPACE = '         0          0 4294967295\n';
const ROOTLESS = '         0       1000          1\n         1     100000      65536\n';

describe('parseMemlock', () => {
  it('reads what is locked, and the soft limit', () => {
    expect(parseMemlock(status(128, NONE), limits('8388608'), NO_NAMESPACE)).toEqual({
      locked: 131072,
      limit: 8388608,
    });
  });

  it('knows no limit where there is none, or for a process that is above it', () => {
    expect(parseMemlock(status(0, NONE), limits('unlimited'), NO_NAMESPACE).limit).toBe(Infinity);
    expect(parseMemlock(status(0, ALL), limits('65536'), NO_NAMESPACE).limit).toBe(Infinity);
    expect(parseMemlock(status(0, (1 << 14).toString(16)), limits('65536'), NO_NAMESPACE).limit).toBe(
      Infinity,
    );
    expect(parseMemlock(status(0, (1 << 13).toString(16)), limits('65536'), NO_NAMESPACE).limit).toBe(65536);
  });

  it('does not count a capability that holds in a user namespace only', () => {
    expect(parseMemlock(status(0, ALL), limits('65536'), ROOTLESS).limit).toBe(65536);
    expect(parseMemlock(status(0, ALL), limits('unlimited'), ROOTLESS).limit).toBe(Infinity);
  });
});

describe('pinningError', () => {
  it('names what is locked, the limit and what is needed', () => {
    const error = pinningError(1 << 20, { locked: 65536, limit: 524288 });
    expect(error).toMatchObject({ code: 'VFIO_MEMLOCK_TOO_LOW', syscall: 'VFIO_IOMMU_MAP_DMA', errno: 12 });
    expect(error.message).toContain('1048576 bytes more');
    expect(error.message).toContain('65536 are locked, and RLIMIT_MEMLOCK is 524288');
    expect(error.remedy).toContain('1114112 bytes or more: ulimit -l 1088');
  });

  it('is about memory itself where the limit would do', () => {
    expect(pinningError(4096, { locked: 0, limit: Infinity }).code).toBe('MEMORY_EXHAUSTED');
    expect(pinningError(4096, { locked: 4096, limit: 8192 }).code).toBe('MEMORY_EXHAUSTED');
  });
});
