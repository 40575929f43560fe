import { expect, it } from 'vitest';
import { CollectionWatch, heapUsed } from '../../bench/lib/collections.js';

/** Makes garbage with no turn of the event loop: as much as the young generation holds, many times over. */
function litter(): number {
  let sum = 0;
  for (let i = 0; i < 20_000; i += 1) sum += new Array<number>(1000).fill(i)[i % 1000];
  return sum;
}

it('sees the collections of a stretch without a turn of the event loop, and none of what was before', async () => {
  const watch = new CollectionWatch();
  litter();
  const begin = performance.now();
  const end = performance.now();
  litter();
  const later = performance.now();
  expect((await watch.between(begin, end)).count).toBe(0);
  const { count, longest, sum } = await watch.between(end, later);
  watch.stop();
  expect(count).toBeGreaterThan(0);
  expect(longest).toBeGreaterThan(0);
  expect(sum).toBeGreaterThanOrEqual(longest);
  expect(heapUsed()).toBeGreaterThan(0);
});
