/** All sections, in the order in which they run and are printed. */
import type { Section } from '../section.js';
import { dpdk } from './dpdk.js';

export const SECTIONS: readonly Section[] = [dpdk];
