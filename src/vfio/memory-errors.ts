/** Failures of the system to give memory, as errors with a code and a remedy. */
import { MemoryError } from '../errors.js';
import { ERRNO, errnoOf } from '../native/errno.js';
import { HUGE_PAGE_BYTES } from './huge-pages.js';

/** The error for memory that could not be had: of its own kind where that is why. */
export function withoutMemory(error: unknown, size: number): unknown {
  if (errnoOf(error) !== ERRNO.ENOMEM) return error;
  return new MemoryError('MEMORY_EXHAUSTED', `The system has no ${size} bytes of memory`, { cause: error });
}

/** As {@link withoutMemory}, for huge pages. */
export function withoutHugePages(error: unknown, backing: '2M' | '1G', size: number): unknown {
  const errno = errnoOf(error);
  // A limit of a control group shows as EFAULT when the pages are to be filled; EINVAL: no such size here.
  if (errno !== ERRNO.ENOMEM && errno !== ERRNO.EFAULT && errno !== ERRNO.EINVAL) return error;
  const bytes = HUGE_PAGE_BYTES[backing];
  const folder = `/sys/kernel/mm/hugepages/hugepages-${bytes / 1024}kB`;
  return new MemoryError(
    'HUGE_PAGES_MISSING',
    `There are no ${Math.ceil(size / bytes)} free huge pages of ${backing}`,
    {
      errno,
      cause: error,
      remedy: `Reserve some, as root: echo NUMBER > ${folder}/nr_hugepages, or take out { hugePages: "${backing}" }.`,
    },
  );
}
