/** Where memory lies in the machine, for devices that reach it around an IOMMU or without one. */
import { MemoryError } from '../errors.js';
import { ERRNO, errnoOf } from '../native/errno.js';
import { MappedMemory, pageSize } from '../native/mapped-memory.js';
import { physicalPages } from '../native/page-frames.js';

/** How much more memory than needed is looked through for consecutive pages, one after the other. */
const SEARCH_FACTORS = [1, 8, 64];
/** Beyond that nobody finds anything but by luck. */
const LARGEST_SEARCH = 16 * 2 ** 20;

/**
 * The physical address of each page.
 *
 * @throws MemoryError MEMORY_ADDRESS_UNKNOWN
 */
export function readPhysicalPages(address: number, size: number): Float64Array {
  try {
    return Float64Array.from(physicalPages(address, size), Number);
  } catch (error) {
    throw unknownAddress(error);
  }
}

/**
 * The physical address of each page of memory that is pinned. It is read twice, since a device would write to whatever
 * lies at an address that is out of date.
 *
 * @throws MemoryError MEMORY_ADDRESS_UNKNOWN
 */
export function readPinnedPages({ address, size }: MappedMemory): Float64Array {
  const pages = readPhysicalPages(address, size);
  const again = readPhysicalPages(address, size);
  if (pages.every((page, index) => page === again[index])) return pages;
  throw new MemoryError('MEMORY_ADDRESS_UNKNOWN', 'Memory that was pinned for the device has moved');
}

/**
 * Allocates memory whose pages follow on each other, as far as such can be found. The memory is not pinned, so that has
 * to be checked again when it is.
 *
 * @throws MemoryError MEMORY_NOT_CONTIGUOUS, MEMORY_ADDRESS_UNKNOWN; NativeError
 */
export function allocateRun(size: number): MappedMemory {
  for (const factor of SEARCH_FACTORS) {
    const room = size * factor;
    if (factor > 1 && room > LARGEST_SEARCH) break;
    const memory = MappedMemory.allocatePart(size, room, (address, length) =>
      findRun(readPhysicalPages(address, length), size / pageSize()),
    );
    if (memory !== undefined) return memory;
  }
  throw notContiguous(size);
}

export function notContiguous(size: number): MemoryError {
  return new MemoryError('MEMORY_NOT_CONTIGUOUS', `No ${size} bytes were found at consecutive addresses`);
}

/** The offset in bytes at which `count` consecutive pages begin; undefined where there are none. */
export function findRun(pages: Float64Array, count: number, page = pageSize()): number | undefined {
  let start = 0;
  for (let index = 0; index < pages.length; index++) {
    if (index > 0 && pages[index - 1] + page !== pages[index]) start = index;
    if (index - start + 1 === count) return start * page;
  }
  return undefined;
}

function unknownAddress(cause: unknown): MemoryError {
  const errno = errnoOf(cause);
  const details = { syscall: 'read /proc/self/pagemap', errno, cause };
  if (errno === ERRNO.ENXIO) {
    return new MemoryError('MEMORY_ADDRESS_UNKNOWN', 'A page of the memory for the device is not there', {
      ...details,
      remedy: 'Try again, with CAP_SYS_ADMIN, when the system is less short of memory.',
    });
  }
  return new MemoryError(
    'MEMORY_ADDRESS_UNKNOWN',
    'The kernel does not show the physical addresses of memory to a program without CAP_SYS_ADMIN',
    details,
  );
}
