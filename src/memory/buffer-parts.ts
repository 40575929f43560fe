import type { DmaRegion } from './dma.js';

/** The unit in which memory may be scattered. */
const PAGE = 4096;
/** What the low half of an address can count to. */
const LOW_HALF = 2 ** 32;

/**
 * Where the parts of a buffer lie that the device does not see at consecutive addresses, or that has a multiple of 4 GiB
 * within: the first part begins with the buffer, each further one on a page boundary. So within a part all addresses
 * have the same high half, and an offset is added to the low one without a carry.
 */
export interface BufferParts {
  /** Number of parts. */
  readonly count: number;
  /** Offset in bytes of each part in the buffer; one more entry at the end, for the length of the buffer. */
  readonly offsets: Uint32Array;
  /** Device address of each part, in halves. */
  readonly lo: Uint32Array;
  readonly hi: Uint32Array;
}

/**
 * The parts of the `length` bytes from `offset` on.
 *
 * @returns undefined if they are in one piece
 */
export function partsOf(region: DmaRegion, offset: number, length: number): BufferParts | undefined {
  if (isOnePiece(region, offset, length)) return undefined;
  const starts = partStarts(region, offset, length);
  const addresses = starts.map((start) => region.addressOf(offset + start));
  return {
    count: starts.length,
    offsets: Uint32Array.of(...starts, length),
    lo: Uint32Array.from(addresses, ({ lo }) => lo),
    hi: Uint32Array.from(addresses, ({ hi }) => hi),
  };
}

function partStarts(region: DmaRegion, offset: number, length: number): number[] {
  const starts = [0];
  let start = 0;
  // A region begins on a page boundary, so the offset tells where the next one is.
  for (let page = PAGE - (offset % PAGE); page < length; page += PAGE) {
    const end = Math.min(page + PAGE, length);
    if (isOnePiece(region, offset + start, end - start)) continue;
    starts.push(page);
    start = page;
  }
  return starts;
}

function isOnePiece(region: DmaRegion, offset: number, length: number): boolean {
  return region.isContiguous(offset, length) && region.addressOf(offset).lo + length <= LOW_HALF;
}
