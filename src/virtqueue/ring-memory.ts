/**
 * The memory of a ring. Each of its parts, and each indirect table, must lie at consecutive addresses for the device
 * (VIRTIO 1.3, 2.7, 2.8.10.1), which physical memory grants for certain within a page only.
 */
import { MemoryError } from '../errors.js';
import type { DmaMemory, DmaRegion } from '../memory/dma.js';

/** What is contiguous whatever the memory. */
const PAGE = 4096;

/** A stretch of a region that the device is to find at consecutive addresses. */
export interface Stretch {
  /** What it is, for messages. */
  readonly name: string;
  readonly offset: number;
  readonly length: number;
}

/** Where something of that length can begin, from an offset on, so that it crosses no page boundary needlessly. */
export function clearOfPageEnd(from: number, length: number): number {
  const left = PAGE - (from % PAGE);
  // What is longer than a page needs contiguous memory wherever it begins.
  return length <= left || length > PAGE ? from : from + left;
}

/**
 * Allocates a region in which each of the stretches is contiguous for the device.
 *
 * @throws MemoryError MEMORY_NOT_CONTIGUOUS where the memory has no such region, and what `allocate()` throws
 */
export function allocateStretches(memory: DmaMemory, size: number, stretches: readonly Stretch[]): DmaRegion {
  const contiguous = stretches.some(({ length }) => length > PAGE);
  const region = memory.allocate(size, { contiguous });
  const torn = stretches.find(({ offset, length }) => !region.isContiguous(offset, length));
  if (torn === undefined) return region;
  region.free();
  throw new MemoryError(
    'MEMORY_NOT_CONTIGUOUS',
    `${torn.name} of ${torn.length} bytes does not lie at consecutive addresses for the device`,
  );
}
