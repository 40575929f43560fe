/** Where the device looks for the parts of a legacy queue (VIRTIO 1.3, 2.7.2). */
import { describe, expect, it } from 'vitest';
import { SimulatedMemory } from '../../src/sim/memory.js';
import { openQueue } from '../../src/sim/queue-format.js';
import type { QueueLayout } from '../../src/transport/transport.js';

const SIZE = 256;
const TRAITS = { isolation: true, legacy: true };

function layoutAt(start: number, available: number, used: number): QueueLayout {
  const at = (offset: number): { lo: number; hi: number } => ({ lo: start + offset, hi: 0 });
  return { size: SIZE, descriptorArea: at(0), driverArea: at(available), deviceArea: at(used) };
}

describe('a legacy queue', () => {
  const open = (make: (base: number) => QueueLayout, pages = 3): void => {
    const memory = new SimulatedMemory({ limit: 2 ** 20, behindIommu: true });
    const region = memory.allocate(4096 * pages);
    openQueue(memory, make(region.addressOf(0).lo), 0n, TRAITS);
  };

  it('has its available ring behind the descriptors, and its used ring on the page after that', () => {
    expect(() => open((base) => layoutAt(base, 4096, 8192))).not.toThrow();
  });

  it.each([
    ['driver area elsewhere', 4096 + 128, 8192, /the driver area lies at .* a legacy device looks for it at/],
    ['device area elsewhere', 4096, 4096 + 640, /the device area lies at .* a legacy device looks for it at/],
  ])('refuses a %s', (_, available, used, sentence) => {
    expect(() => open((base) => layoutAt(base, available, used))).toThrow(sentence);
  });

  it('refuses descriptors that begin on no page', () => {
    expect(() => open((base) => layoutAt(base + 16, 4096, 8192 - 16), 4)).toThrow(/begins on no page/);
  });

  it('refuses an address whose page number does not fit 32 bits', () => {
    const high = { lo: 0, hi: 0x1000 };
    expect(() => open((base) => ({ ...layoutAt(base, 4096, 8192), descriptorArea: high }))).toThrow(
      /begins on no page that 32 bits can number/,
    );
  });

  it('refuses a ring that is not all there', () => {
    expect(() => open((base) => layoutAt(base, 4096, 8192), 2)).toThrow(/runs over|lies outside/);
  });
});
