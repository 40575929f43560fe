import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { SILENT } from '../../src/log.js';
import { MappedMemory, pageSize } from '../../src/native/mapped-memory.js';
import { shim } from '../../src/native/shim.js';
import { VfioMemory } from '../../src/vfio/dma.js';
import type { HugePages } from '../../src/vfio/huge-pages.js';
import { allocateRun, findRun, readPhysicalPages } from '../../src/vfio/physical-memory.js';
import { PlainPinning } from '../../src/vfio/pinning.js';
import { buildShim } from '../native/build-shim.js';
import { openFileCount } from '../native/process-state.js';

vi.mock(import('../../src/native/page-frames.js'), async (original) => ({
  ...(await original()),
  physicalPages: vi.fn((address: number, size: number) => frames.read(address, size)),
}));

const PAGE = 4096;
const ENOSYS = 38;
const ENOMEM = 12;

/** Frames as a test wants them: by default every second one, so that no page follows on another. */
const frames = {
  read: (_address: number, size: number): bigint[] => scattered(size),
};
const scattered = (size: number): bigint[] =>
  Array.from({ length: size / PAGE }, (_, index) => BigInt(2 ** 33 + 2 * index * PAGE));

beforeAll(buildShim);
beforeEach(() => {
  frames.read = (_address, size) => scattered(size);
});
afterEach(() => vi.restoreAllMocks());

/** Memory of a device without an IOMMU, in a system without huge pages. */
function plainMemory(hugePages: HugePages = 'auto'): VfioMemory {
  const pinning = new PlainPinning(SILENT);
  return new VfioMemory({ address: '0000:00:10.0', log: SILENT, pinning, hugePages, sysfsRoot: '/nowhere' });
}

function failure(action: () => unknown): unknown {
  const before = openFileCount();
  try {
    action();
  } catch (error) {
    expect(openFileCount()).toBe(before);
    return error;
  }
  throw new Error('it did not fail');
}

describe('findRun', () => {
  it('finds the first run that is long enough', () => {
    const pages = Float64Array.of(1, 2, 5, 6, 7, 9).map((frame) => frame * PAGE);
    expect(findRun(pages, 1, PAGE)).toBe(0);
    expect(findRun(pages, 3, PAGE)).toBe(2 * PAGE);
    expect(findRun(pages, 4, PAGE)).toBeUndefined();
  });

  it('takes no descending pages for a run', () => {
    expect(findRun(Float64Array.of(3 * PAGE, 2 * PAGE, PAGE), 2, PAGE)).toBeUndefined();
  });
});

describe('allocateRun', () => {
  it('keeps the run alone of what it looked through', () => {
    frames.read = (_address, size) => {
      const pages = scattered(size);
      // Pages 5 to 8 follow on each other.
      for (let index = 6; index < Math.min(9, pages.length); index++)
        pages[index] = pages[index - 1] + BigInt(PAGE);
      return pages;
    };
    const unmapped = vi.spyOn(shim(), 'memory_unmap');
    const memory = allocateRun(4 * PAGE);
    expect(memory.size).toBe(4 * PAGE);
    new Uint8Array(memory.buffer).fill(7);
    const [, head, tail] = unmapped.mock.calls;
    expect(head).toEqual([memory.address - 5 * PAGE, 5 * PAGE]);
    expect(tail).toEqual([memory.address + 4 * PAGE, 23 * PAGE]);
    memory.close();
  });

  it('says that there is none', () => {
    expect(failure(() => allocateRun(2 * PAGE))).toMatchObject({ code: 'MEMORY_NOT_CONTIGUOUS' });
  });
});

describe('memory without an IOMMU', () => {
  it('is pinned, page by page where it lies, and unpinned before it goes', () => {
    const before = openFileCount();
    const memory = plainMemory();
    const region = memory.allocate(3 * PAGE);
    expect(openFileCount()).toBe(before + 1);
    expect(region.addressOf(PAGE + 3)).toEqual({ lo: 2 * PAGE + 3, hi: 2 });
    expect([region.isContiguous(0, PAGE), region.isContiguous(PAGE - 1, 2)]).toEqual([true, false]);
    expect(() => memory.setAddressing('iova')).toThrow(
      expect.objectContaining({ code: 'VFIO_IOMMU_ABSENT' }),
    );
    region.free();
    expect([openFileCount(), memory.allocatedBytes]).toEqual([before, 0]);
    memory.close();
  });

  it('is refused where the kernel pins nothing, and there are no huge pages', () => {
    vi.spyOn(shim(), 'memory_pin').mockReturnValue(-ENOSYS);
    const unmapped = vi.spyOn(shim(), 'memory_unmap');
    expect(failure(() => plainMemory().allocate(PAGE))).toMatchObject({
      code: 'MEMORY_NOT_PINNED',
      errno: ENOSYS,
      remedy: expect.stringMatching(/io_uring.*nr_hugepages/) as string,
    });
    expect(unmapped).toHaveBeenCalledTimes(1);
  });

  it('is refused beyond the limit on locked memory, or without memory', () => {
    vi.spyOn(shim(), 'memory_pin').mockReturnValue(-ENOMEM);
    expect(failure(() => plainMemory().allocate(PAGE))).toMatchObject({
      code: expect.stringMatching(/VFIO_MEMLOCK_TOO_LOW|MEMORY_EXHAUSTED/) as string,
      syscall: 'io_uring_register',
    });
  });

  it('is given to no device where it moved after all', () => {
    let shift = 0n;
    frames.read = (_address, size) => scattered(size).map((page) => page + BigInt(PAGE) * shift++);
    const memory = plainMemory();
    expect(failure(() => memory.allocate(PAGE))).toMatchObject({ code: 'MEMORY_ADDRESS_UNKNOWN' });
    expect(memory.allocatedBytes).toBe(0);
  });

  it('is refused where no such huge pages are', () => {
    expect(failure(() => plainMemory('1G').allocate(PAGE, { buffers: true }))).toMatchObject({
      code: 'HUGE_PAGES_MISSING',
      remedy: expect.stringContaining('hugepages-1048576kB/nr_hugepages') as string,
    });
  });
});

it('reads real addresses as the kernel has them', async () => {
  const { physicalPages } = await vi.importActual<typeof import('../../src/native/page-frames.js')>(
    '../../src/native/page-frames.js',
  );
  frames.read = physicalPages;
  const memory = MappedMemory.allocate(4 * pageSize());
  const read = (): Float64Array => readPhysicalPages(memory.address, memory.size);
  try {
    expect(new Set(read()).size).toBe(4);
  } catch (error) {
    expect(error).toMatchObject({ code: 'MEMORY_ADDRESS_UNKNOWN', errno: 1 });
  }
  memory.close();
  expect(read).toThrow(expect.objectContaining({ code: 'MEMORY_ADDRESS_UNKNOWN' }));
});
