import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { NativeError } from '../../src/errors.js';
import { ERRNO, checked, describeErrno, errnoOf } from '../../src/native/errno.js';

describe('checked', () => {
  it('passes results on', () => {
    expect(checked('x', 0)).toBe(0);
    expect(checked('x', 2 ** 47)).toBe(2 ** 47);
  });

  it('turns a negated errno into an error that names call and errno', () => {
    const act = (): number => checked('VFIO_IOMMU_MAP_DMA', -12);
    expect(act).toThrow(NativeError);
    expect(act).toThrow(
      expect.objectContaining({ code: 'NATIVE_CALL_FAILED', errno: 12, syscall: 'VFIO_IOMMU_MAP_DMA' }),
    );
    expect(act).toThrow(/^VFIO_IOMMU_MAP_DMA failed: ENOMEM \(not enough memory\)\. /);
  });
});

describe('errno names', () => {
  it('are those of the system, and a number where it has none', () => {
    expect(describeErrno(16)).toMatch(/^EBUSY \(/);
    expect(describeErrno(61)).toContain('ENODATA');
    expect(describeErrno(3000)).toBe('errno 3000');
    expect(ERRNO.EACCES).toBe(13);
  });
});

describe('errnoOf', () => {
  it('finds the errno of both kinds of failure, and of nothing else', () => {
    const failure = (act: () => unknown): unknown => {
      try {
        return act();
      } catch (error) {
        return error;
      }
    };
    expect(errnoOf(failure(() => checked('x', -16)))).toBe(16);
    expect(errnoOf(failure(() => readFileSync('/no/such/file')))).toBe(2);
    expect(errnoOf(new Error('x'))).toBeUndefined();
    expect(errnoOf('x')).toBeUndefined();
  });
});
