import { expect, it } from 'vitest';
import { PageAddresses } from '../../src/memory/page-addresses.js';

const PAGE = 4096;
/** Two pages that follow on each other across 4 GiB, one elsewhere, and one that only seems to follow. */
const addresses = new PageAddresses(Float64Array.of(2 ** 32 - PAGE, 2 ** 32, 5 * PAGE, 4 * PAGE), PAGE);

it('gives addresses in both halves', () => {
  expect(addresses.addressOf(PAGE - 1)).toEqual({ lo: 0xffff_ffff, hi: 0 });
  expect(addresses.addressOf(PAGE + 5)).toEqual({ lo: 5, hi: 1 });
  expect(addresses.addressOf(2 * PAGE + 7)).toEqual({ lo: 5 * PAGE + 7, hi: 0 });
  expect(addresses.addressOf(4 * PAGE)).toEqual({ lo: 5 * PAGE, hi: 0 });
});

it('is contiguous where pages follow on each other, and within a page', () => {
  expect(addresses.isContiguous(0, 2 * PAGE)).toBe(true);
  expect(addresses.isContiguous(PAGE - 1, 2)).toBe(true);
  expect(addresses.isContiguous(0, 2 * PAGE + 1)).toBe(false);
  expect(addresses.isContiguous(2 * PAGE - 1, 2)).toBe(false);
  expect(addresses.isContiguous(3 * PAGE - 1, 2)).toBe(false);
  expect(addresses.isContiguous(2 * PAGE, PAGE)).toBe(true);
  expect(addresses.isContiguous(PAGE, 0)).toBe(true);
});
