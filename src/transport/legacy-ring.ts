/** Where a ring lies for the legacy interface (VIRTIO 1.3, 2.7.2 and 4.1.5.1.3.1). */
import { DeviceError, UsageError } from '../errors.js';
import type { DeviceAddress } from '../memory/dma.js';
import type { QueueLayout } from './transport.js';

/** The ring begins on a page of this many bytes, and so does its used ring. */
const PAGE = 4096;
const PAGE_BITS = 12;
const DESCRIPTOR_BYTES = 16;
/** Of the available ring: flags, index and used_event, and an entry for each descriptor. */
const AVAILABLE_BYTES = { FIXED: 6, ENTRY: 2 } as const;
const LARGEST_FRAME = 0xffff_ffff;
const TWO_TO_32 = 2 ** 32;

/**
 * The number of the page that the ring begins on: all that a legacy device is told of where it lies.
 *
 * @throws UsageError OPTION_INVALID if its parts do not lie as the interface has it; DeviceError
 *   DEVICE_QUEUE_UNAVAILABLE if the number has more than 32 bits
 */
export function pageFrameOf(device: string, queue: number, layout: QueueLayout): number {
  checkParts(queue, layout);
  const { lo, hi } = layout.descriptorArea;
  const frame = hi * 2 ** (32 - PAGE_BITS) + (lo >>> PAGE_BITS);
  if (frame > 0 && frame <= LARGEST_FRAME) return frame;
  throw new DeviceError(
    'DEVICE_QUEUE_UNAVAILABLE',
    `Queue ${queue} of ${device} can not lie at ${hex(valueOf(layout.descriptorArea))}: the legacy interface takes ` +
      'the number of a page, from 1 to 32 bits',
    { remedy: 'The memory that the system gave is above 16 TiB: use the modern interface of the device.' },
  );
}

function checkParts(queue: number, { size, descriptorArea, driverArea, deviceArea }: QueueLayout): void {
  const start = valueOf(descriptorArea);
  const driver = start + size * DESCRIPTOR_BYTES;
  const end = driver + AVAILABLE_BYTES.FIXED + size * AVAILABLE_BYTES.ENTRY;
  const device = Math.ceil(end / PAGE) * PAGE;
  if (start % PAGE === 0 && valueOf(driverArea) === driver && valueOf(deviceArea) === device) return;
  throw new UsageError(
    'OPTION_INVALID',
    `The ring of queue ${queue} does not lie as the legacy interface has it: the descriptors on a page, the ` +
      'available ring right behind them, the used ring on the next page',
  );
}

/** Exact: no machine has addresses beyond 2^53. */
const valueOf = ({ lo, hi }: DeviceAddress): number => hi * TWO_TO_32 + lo;

const hex = (value: number): string => `0x${value.toString(16)}`;
