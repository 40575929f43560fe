/**
 * The capability chains with which the kernel extends its info structures.
 *
 * Each capability begins with its id (16 bits), its version (16 bits) and the offset of the next one (32 bits,
 * 0 at the end), counted from the beginning of the structure. Everything is in the byte order of the machine,
 * which is little-endian.
 */

/** A stretch of numbers: `end` is the first one that no longer belongs to it. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

interface Capability {
  readonly id: number;
  /** Where it begins, from the start of the structure. */
  readonly offset: number;
}

const HEADER_BYTES = 8;
const COUNT_BYTES = 8;
const RANGE_BYTES = 16;

/** Walks the chain, and stops without a word where it leaves the structure or comes back on itself. */
function* walk(info: DataView, first: number): Generator<Capability> {
  const seen = new Set<number>();
  for (let offset = first; offset !== 0 && !seen.has(offset); offset = info.getUint32(offset + 4, true)) {
    if (offset + HEADER_BYTES > info.byteLength) return;
    seen.add(offset);
    yield { id: info.getUint16(offset, true), offset };
  }
}

/** Two 64-bit numbers for each entry, after the header, a count and a reserved word. */
function readPairs(info: DataView, capability: Capability): [bigint, bigint][] {
  const count = capability.offset + HEADER_BYTES;
  const entries = count + COUNT_BYTES;
  if (entries > info.byteLength) return [];
  const room = Math.floor((info.byteLength - entries) / RANGE_BYTES);
  const pairs: [bigint, bigint][] = [];
  for (let i = 0; i < Math.min(info.getUint32(count, true), room); i++) {
    const at = entries + i * RANGE_BYTES;
    pairs.push([info.getBigUint64(at, true), info.getBigUint64(at + 8, true)]);
  }
  return pairs;
}

function findPairs(bytes: Uint8Array, first: number, id: number): [bigint, bigint][] | undefined {
  const info = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const capability of walk(info, first)) if (capability.id === id) return readPairs(info, capability);
  return undefined;
}

/**
 * The ranges of device addresses that the IOMMU translates, cut off at `limit`.
 *
 * @param bytes - the IOMMU info structure
 * @param first - offset of the first capability in it; 0 for none
 * @returns undefined where the kernel does not say
 */
export function parseIovaRanges(
  bytes: Uint8Array,
  first: number,
  id: number,
  limit: number,
): Range[] | undefined {
  const pairs = findPairs(bytes, first, id);
  if (pairs === undefined) return undefined;
  // The kernel names the last address of a range, not the one after it.
  return pairs
    .map(([start, last]) => ({ start: clamp(start, limit), end: clamp(last + 1n, limit) }))
    .filter(({ start, end }) => start < end);
}

/**
 * The parts of a region that may be mapped, as offsets into the region.
 *
 * @param bytes - the region info structure
 * @returns undefined where the whole region may be mapped
 */
export function parseSparseAreas(
  bytes: Uint8Array,
  first: number,
  id: number,
  regionSize: number,
): Range[] | undefined {
  const pairs = findPairs(bytes, first, id);
  if (pairs === undefined) return undefined;
  return pairs
    .map(([offset, size]) => ({ start: clamp(offset, regionSize), end: clamp(offset + size, regionSize) }))
    .filter(({ start, end }) => start < end);
}

function clamp(value: bigint, limit: number): number {
  return value > BigInt(limit) ? limit : Number(value);
}
