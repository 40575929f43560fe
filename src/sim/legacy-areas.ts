/** Where the parts of a queue lie at a legacy device, which is told the number of one page (VIRTIO 1.3, 2.7.2). */
import type { DeviceAddress } from '../memory/dma.js';
import type { QueueLayout } from '../transport/transport.js';
import { DESCRIPTOR_LENGTH } from './descriptor.js';
import { hex, type SimulatedMemory } from './memory.js';
import { DriverViolation } from './violation.js';

const PAGE = 4096;
/** The page number is 32 bits wide. */
const PAGE_NUMBERS = 2 ** 32;

/** @throws DriverViolation where a part lies elsewhere than a legacy device looks for it, or not in one piece */
export function checkLegacyPlaces(memory: SimulatedMemory, layout: QueueLayout): void {
  const { size } = layout;
  const start = addressOf(layout.descriptorArea);
  if (start % PAGE !== 0 || start / PAGE >= PAGE_NUMBERS) {
    throw new DriverViolation(`the queue at ${hex(start)} begins on no page that 32 bits can number`);
  }
  const driver = start + DESCRIPTOR_LENGTH * size;
  const device = Math.ceil((driver + 6 + 2 * size) / PAGE) * PAGE;
  checkPlace('the driver area', layout.driverArea, driver);
  checkPlace('the device area', layout.deviceArea, device);
  memory.resolve('the legacy queue', layout.descriptorArea, device + 6 + 8 * size - start);
}

function checkPlace(name: string, at: DeviceAddress, expected: number): void {
  const address = addressOf(at);
  if (address === expected) return;
  throw new DriverViolation(
    `${name} lies at ${hex(address)}, but a legacy device looks for it at ${hex(expected)}`,
  );
}

function addressOf({ lo, hi }: DeviceAddress): number {
  return hi * 2 ** 32 + lo;
}
