/** The ring format that was chosen, and the sizes that it allows (VIRTIO 1.3, 2.7, 2.8). */
import type { QueueLayout } from '../transport/transport.js';
import type { DeviceQueue } from './device-queue.js';
import { hasFeature } from './features.js';
import type { SimulatedMemory } from './memory.js';
import { PackedQueue } from './packed-queue.js';
import { SplitQueue } from './split-queue.js';
import { DriverViolation } from './violation.js';

/** Number of entries that a queue of either format has at most. */
const LARGEST = 32_768;

/** What the features do not say about a queue. */
export interface QueueTraits {
  /** Whether to check that the driver leaves alone what the device owns. */
  readonly isolation: boolean;
  /** Whether the device is a legacy one; false if it is left out. */
  readonly legacy?: boolean;
  /** Whether buffers are returned by the batch where VIRTIO_F_IN_ORDER allows it; true if it is left out. */
  readonly usedBatches?: boolean;
}

/**
 * Makes the device's side of a queue, in the format that the features stand for.
 *
 * @throws DriverViolation where the layout is not one that the specification allows
 */
export function openQueue(
  memory: SimulatedMemory,
  layout: QueueLayout,
  features: bigint,
  traits: QueueTraits,
): DeviceQueue {
  const problem = queueSizeProblem(layout.size, features);
  if (problem !== undefined) throw new DriverViolation(`a size of ${layout.size} ${problem}`);
  const options = {
    eventIdx: hasFeature(features, 'VIRTIO_F_RING_EVENT_IDX'),
    indirect: hasFeature(features, 'VIRTIO_F_RING_INDIRECT_DESC'),
    inOrder: hasFeature(features, 'VIRTIO_F_IN_ORDER'),
    notificationData: hasFeature(features, 'VIRTIO_F_NOTIFICATION_DATA'),
    isolation: traits.isolation,
    legacy: traits.legacy ?? false,
    batches: traits.usedBatches ?? true,
  };
  return isPacked(features)
    ? new PackedQueue(memory, layout, options)
    : new SplitQueue(memory, layout, options);
}

/** What is wrong with a size, with these features, as the end of a sentence; undefined if nothing is. */
export function queueSizeProblem(size: number, features: bigint): string | undefined {
  const inRange = Number.isInteger(size) && size > 0 && size <= LARGEST;
  if (isPacked(features)) return inRange ? undefined : `is not a whole number from 1 to ${LARGEST}`;
  return inRange && (size & (size - 1)) === 0 ? undefined : `is not a power of two from 1 to ${LARGEST}`;
}

/** The largest size that a device of queues so large can offer with these features. */
export function largestQueue(size: number, features: bigint): number {
  return isPacked(features) ? size : 2 ** Math.floor(Math.log2(size));
}

function isPacked(features: bigint): boolean {
  return hasFeature(features, 'VIRTIO_F_RING_PACKED');
}
