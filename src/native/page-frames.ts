/** Physical addresses, for devices that reach memory around the IOMMU. */
import { closeSync, openSync, readSync } from 'node:fs';
import { ERRNO, callFailed, errnoOf } from './errno.js';
import { pageSize } from './mapped-memory.js';

const PAGEMAP = '/proc/self/pagemap';
const ENTRY_BYTES = 8;
const PRESENT = 1n << 63n;
const FRAME_MASK = (1n << 55n) - 1n;

/**
 * The physical address of each page of a stretch of memory, in order. The memory must be pinned (by VFIO) or
 * the answer is out of date the moment it is given. Needs CAP_SYS_ADMIN.
 *
 * @param address - virtual, on a page boundary
 * @param size - in bytes, whole pages
 * @throws NativeError NATIVE_CALL_FAILED: EPERM without the capability, ENXIO for a page that is not there
 */
export function physicalPages(address: number, size: number): bigint[] {
  const entries = readPagemap(address / pageSize(), size / pageSize());
  return Array.from(entries, (entry) => {
    if ((entry & PRESENT) === 0n) throw callFailed(`look-up of a page in ${PAGEMAP}`, ERRNO.ENXIO);
    const frame = entry & FRAME_MASK;
    // Without the capability the kernel shows 0 instead of refusing.
    if (frame === 0n) throw callFailed(`look-up of a page frame in ${PAGEMAP}`, ERRNO.EPERM);
    return frame * BigInt(pageSize());
  });
}

function readPagemap(firstPage: number, pages: number): BigUint64Array {
  const entries = new BigUint64Array(pages);
  const fd = openPagemap();
  try {
    for (let done = 0; done < entries.byteLength;) {
      const position = firstPage * ENTRY_BYTES + done;
      const count = readSync(fd, entries, done, entries.byteLength - done, position);
      if (count <= 0) throw callFailed(`read of ${PAGEMAP}`, ERRNO.EIO);
      done += count;
    }
  } finally {
    closeSync(fd);
  }
  return entries;
}

function openPagemap(): number {
  try {
    return openSync(PAGEMAP, 'r');
  } catch (error) {
    throw callFailed(`open of ${PAGEMAP}`, errnoOf(error) ?? ERRNO.EIO);
  }
}
