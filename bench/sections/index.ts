/** All sections, in the order in which they run and are printed. */
import type { Section } from '../section.js';
import { dpdk, dpdkLarge } from './dpdk.js';
import { footprint } from './footprint.js';
import { garbage } from './garbage.js';
import { latency } from './latency.js';
import { load } from './load.js';
import { ringOperations } from './ring-operations.js';
import { vm } from './vm.js';
import { workers } from './workers.js';

export const SECTIONS: readonly Section[] = [
  dpdk,
  dpdkLarge,
  vm,
  latency,
  garbage,
  ringOperations,
  load,
  footprint,
  workers,
];
