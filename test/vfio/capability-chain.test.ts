import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseIovaRanges, parseSparseAreas } from '../../src/vfio/capability-chain.js';
import { parseRegionInfo } from '../../src/vfio/region.js';

const LIMIT = 2 ** 32;

interface TestCapability {
  readonly at: number;
  readonly id: number;
  readonly next: number;
  readonly pairs: readonly (readonly [bigint, bigint])[];
  readonly count?: number;
}

function structure(bytes: number, ...capabilities: TestCapability[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(bytes));
  for (const { at, id, next, pairs, count = pairs.length } of capabilities) {
    view.setUint16(at, id, true);
    view.setUint16(at + 2, 1, true);
    view.setUint32(at + 4, next, true);
    view.setUint32(at + 8, count, true);
    pairs.forEach(([a, b], i) => {
      view.setBigUint64(at + 16 + i * 16, a, true);
      view.setBigUint64(at + 24 + i * 16, b, true);
    });
  }
  return new Uint8Array(view.buffer);
}

describe('IOVA ranges', () => {
  it('are read from behind other capabilities, with their last address included', () => {
    const info = structure(
      160,
      { at: 24, id: 3, next: 48, pairs: [] },
      {
        at: 48,
        id: 1,
        next: 0,
        pairs: [
          [0n, 0xfedfffffn],
          [0xfef00000n, 0xffff_ffff_ffffn],
        ],
      },
    );
    expect(parseIovaRanges(info, 24, 1, LIMIT)).toEqual([
      { start: 0, end: 0xfee00000 },
      { start: 0xfef00000, end: LIMIT },
    ]);
  });

  it('leaves out what is empty, reversed or beyond the limit', () => {
    const pairs = [
      [0x1000n, 0xfffn],
      [0x3000n, 0x1000n],
      [1n << 32n, 1n << 40n],
      [0xffff_ffff_ffff_0000n, 0xffff_ffff_ffff_ffffn],
    ] as const;
    expect(parseIovaRanges(structure(160, { at: 24, id: 1, next: 0, pairs }), 24, 1, LIMIT)).toEqual([]);
  });

  it('are unknown where there is no such capability', () => {
    expect(parseIovaRanges(structure(64), 0, 1, LIMIT)).toBeUndefined();
    expect(
      parseIovaRanges(structure(64, { at: 24, id: 2, next: 0, pairs: [] }), 24, 1, LIMIT),
    ).toBeUndefined();
  });
});

describe('hostile capability chains', () => {
  it('end where they leave the structure', () => {
    expect(parseIovaRanges(structure(64), 60, 1, LIMIT)).toBeUndefined();
    expect(parseIovaRanges(structure(64), 0xffffffff, 1, LIMIT)).toBeUndefined();
    const astray = structure(64, { at: 24, id: 2, next: 0xfffffff0, pairs: [] });
    expect(parseIovaRanges(astray, 24, 1, LIMIT)).toBeUndefined();
  });

  it('end where they go round in a circle', () => {
    const circle = structure(
      96,
      { at: 24, id: 2, next: 48, pairs: [] },
      { at: 48, id: 3, next: 24, pairs: [] },
    );
    expect(parseIovaRanges(circle, 24, 1, LIMIT)).toBeUndefined();
  });

  it('give no more entries than the structure has room for', () => {
    const boastful = structure(72, {
      at: 24,
      id: 1,
      next: 0,
      pairs: [[0x1000n, 0x1fffn]],
      count: 0xffffffff,
    });
    expect(parseIovaRanges(boastful, 24, 1, LIMIT)).toEqual([
      { start: 0x1000, end: 0x2000 },
      // The bytes after the entry are zero: the range from 0 to 0.
      { start: 0, end: 1 },
    ]);
    const short = structure(40, { at: 24, id: 1, next: 0, pairs: [], count: 5 }).subarray(0, 34);
    expect(parseIovaRanges(short, 24, 1, LIMIT)).toEqual([]);
  });

  it('give ranges inside the limit, whatever the bytes are', () => {
    const bytes = fc.uint8Array({ minLength: 24, maxLength: 256 });
    fc.assert(
      fc.property(
        bytes,
        fc.integer({ min: 0, max: 300 }),
        fc.integer({ min: 0, max: 3 }),
        (info, first, id) => {
          const copy = new Uint8Array([...info]);
          for (const parse of [parseIovaRanges, parseSparseAreas]) {
            for (const { start, end } of parse(copy, first, id, 0x4000) ?? []) {
              expect(start).toBeGreaterThanOrEqual(0);
              expect(start).toBeLessThan(end);
              expect(end).toBeLessThanOrEqual(0x4000);
            }
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('region info', () => {
  const region = (flags: number, size: bigint, ...capabilities: TestCapability[]): Uint8Array => {
    const bytes = structure(160, ...capabilities);
    const view = new DataView(bytes.buffer);
    view.setUint32(4, flags, true);
    view.setUint32(12, capabilities[0]?.at ?? 0, true);
    view.setBigUint64(16, size, true);
    view.setBigUint64(24, 4n << 40n, true);
    return bytes;
  };

  it('has the whole region mappable without a sparse capability', () => {
    expect(parseRegionInfo(region(7, 0x4000n))).toEqual({
      size: 0x4000,
      offset: 4 * 2 ** 40,
      mappable: [{ start: 0, end: 0x4000 }],
    });
  });

  it('has nothing mappable without the flag, or without a size', () => {
    expect(parseRegionInfo(region(3, 0x4000n)).mappable).toEqual([]);
    expect(parseRegionInfo(region(7, 0n)).mappable).toEqual([]);
  });

  it('has the areas of a sparse capability mappable, cut to the region', () => {
    const sparse = {
      at: 32,
      id: 1,
      next: 0,
      pairs: [
        [0n, 0x1000n],
        [0x3000n, 0xffff_ffff_ffff_f000n],
        [0x8000n, 0x1000n],
      ],
    } as const;
    expect(parseRegionInfo(region(15, 0x4000n, sparse)).mappable).toEqual([
      { start: 0, end: 0x1000 },
      { start: 0x3000, end: 0x4000 },
    ]);
    expect(parseRegionInfo(region(15, 0x4000n, { at: 32, id: 1, next: 0, pairs: [] })).mappable).toEqual([]);
  });
});
