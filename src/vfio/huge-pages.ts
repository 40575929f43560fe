/** Which pages to make a region of. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AddressKind } from '../memory/dma.js';

/** Pages of the system's usual size, or huge ones. */
export type Backing = 'pages' | '2M' | '1G';
/** Which huge pages to use: where it helps and there are some, never, or those of that size for all packet buffers. */
export type HugePages = 'auto' | 'never' | '2M' | '1G';

export const HUGE_PAGE_BYTES = { '2M': 2 ** 21, '1G': 2 ** 30 } as const;
/** Up to this size a contiguous region is worth looking for among small pages. */
const LARGEST_SEARCH = 2 ** 20;

/** What a region has to be. */
export interface RegionNeeds {
  readonly size: number;
  readonly addressing: AddressKind;
  readonly contiguous: boolean;
  /** It is for packet buffers. */
  readonly buffers: boolean;
}

/** Number of huge pages that are free and promised to nobody; 0 where the system has none of that size, or does not tell. */
export function freeHugePages(size: '2M' | '1G', sysfsRoot: string): number {
  const folder = join(sysfsRoot, 'kernel/mm/hugepages', `hugepages-${HUGE_PAGE_BYTES[size] / 1024}kB`);
  return Math.max(readCount(join(folder, 'free_hugepages')) - readCount(join(folder, 'resv_hugepages')), 0);
}

function readCount(path: string): number {
  try {
    return Number(readFileSync(path, 'utf8'));
  } catch {
    // A container may not see them. They are only ever a help, or asked for by their size, which fails in words.
    return 0;
  }
}

/**
 * What to try, the best first. An IOMMU makes any pages look contiguous, so huge ones are used with it only if asked
 * for. With physical addresses they keep a large region in few pieces, as long as not more than half of it is wasted;
 * further down the list they are the last resort. What was asked for by its size holds for packet buffers: a ring would
 * waste nearly all of such a page, and device addresses of 4 GiB in all hold but three of 1 GiB.
 *
 * @param free - the number of huge pages of a size that are free
 */
export function chooseBackings(
  needs: RegionNeeds,
  wish: HugePages,
  free: (size: '2M' | '1G') => number,
): Backing[] {
  const { size, addressing, contiguous, buffers } = needs;
  if (wish === '2M' || wish === '1G') {
    if (buffers) return [wish];
    return addressing === 'iova' ? ['pages'] : ['pages', wish];
  }
  if (wish === 'never' || addressing === 'iova') return ['pages'];
  const count = (huge: '2M' | '1G'): number => Math.ceil(size / HUGE_PAGE_BYTES[huge]);
  const possible = (['2M', '1G'] as const).filter((huge) => free(huge) >= count(huge));
  const fitting = possible.filter((huge) => count(huge) * HUGE_PAGE_BYTES[huge] <= 2 * size);
  if (contiguous && size <= LARGEST_SEARCH) return ['pages', ...possible];
  return [...fitting, 'pages', ...possible.filter((huge) => !fitting.includes(huge))];
}
