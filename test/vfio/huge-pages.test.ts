import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chooseBackings, freeHugePages, type HugePages } from '../../src/vfio/huge-pages.js';
import { FakeSystem } from './fake-system.js';

const MIB = 2 ** 20;

describe('the choice of pages', () => {
  const choose = (
    size: number,
    wish: HugePages,
    contiguous = false,
    free = { '2M': 64, '1G': 1 },
  ): string[] =>
    chooseBackings({ size, addressing: 'physical', contiguous, buffers: true }, wish, (huge) => free[huge]);

  it('keeps a large region in few pieces, where not more than half of it is wasted', () => {
    expect(choose(4 * MIB, 'auto')).toEqual(['2M', 'pages', '1G']);
    expect(choose(MIB, 'auto')).toEqual(['2M', 'pages', '1G']);
    expect(choose(700 * MIB, 'auto')).toEqual(['1G', 'pages']);
  });

  it('takes small pages for a small region, and huge ones where those will not do', () => {
    expect(choose(8192, 'auto')).toEqual(['pages', '2M', '1G']);
    expect(choose(MIB / 2, 'auto', true)).toEqual(['pages', '2M', '1G']);
    expect(choose(2 * MIB, 'auto', true)).toEqual(['2M', 'pages', '1G']);
  });

  it('counts on no huge page that is not free', () => {
    expect(choose(4 * MIB, 'auto', false, { '2M': 1, '1G': 0 })).toEqual(['pages']);
    expect(choose(8192, 'auto', true, { '2M': 0, '1G': 0 })).toEqual(['pages']);
  });

  it('does as it is told', () => {
    expect(choose(4 * MIB, 'never')).toEqual(['pages']);
    expect(choose(8192, '2M', false, { '2M': 0, '1G': 0 })).toEqual(['2M']);
    expect(choose(8192, '1G')).toEqual(['1G']);
  });

  it('takes huge pages behind an IOMMU only if it is told to', () => {
    const needs = { size: 4 * MIB, addressing: 'iova', contiguous: true, buffers: true } as const;
    expect(chooseBackings(needs, 'auto', () => 64)).toEqual(['pages']);
    expect(chooseBackings(needs, '2M', () => 64)).toEqual(['2M']);
  });

  it('keeps what was asked for by its size for packet buffers', () => {
    const ring = { size: 8192, contiguous: true, buffers: false } as const;
    expect(chooseBackings({ ...ring, addressing: 'iova' }, '1G', () => 8)).toEqual(['pages']);
    expect(chooseBackings({ ...ring, addressing: 'physical' }, '1G', () => 8)).toEqual(['pages', '1G']);
  });
});

describe('freeHugePages', () => {
  let system: FakeSystem;
  beforeEach(() => {
    system = new FakeSystem();
  });
  afterEach(() => system.remove());

  it('leaves out those that are promised to somebody, and knows systems without any', () => {
    expect(freeHugePages('2M', system.sysfsRoot)).toBe(0);
    const folder = join(system.sysfsRoot, 'kernel/mm/hugepages/hugepages-2048kB');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'free_hugepages'), '7\n');
    writeFileSync(join(folder, 'resv_hugepages'), '3\n');
    expect(freeHugePages('2M', system.sysfsRoot)).toBe(4);
    expect(freeHugePages('1G', system.sysfsRoot)).toBe(0);
  });

  it('counts on none where it may not see them', () => {
    const folder = join(system.sysfsRoot, 'kernel/mm/hugepages/hugepages-2048kB');
    mkdirSync(join(folder, 'free_hugepages'), { recursive: true });
    expect(freeHugePages('2M', system.sysfsRoot)).toBe(0);
    expect(freeHugePages('2M', join(system.sysfsRoot, 'kernel'))).toBe(0);
  });
});
