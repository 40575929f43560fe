/**
 * The rings that a device gets: packed where both sides can do that, otherwise split (VIRTIO 1.3, 2.7, 2.8).
 */
import { DeviceError, UsageError } from '../errors.js';
import type { QueueAccess } from '../transport/transport.js';
import { InOrderPackedVirtqueue } from '../virtqueue/packed-in-order.js';
import { PackedVirtqueue } from '../virtqueue/packed-virtqueue.js';
import { InOrderSplitVirtqueue } from '../virtqueue/split-in-order.js';
import { SplitVirtqueue } from '../virtqueue/split-virtqueue.js';
import type { Virtqueue } from '../virtqueue/virtqueue.js';
import type { NegotiatedFeatures } from './features.js';

/** Larger rings cost memory and cache, and gain little. */
const DEFAULT_QUEUE_SIZE = 256;

/**
 * Allocates a ring in the format that was negotiated.
 *
 * @param longestChain - the most parts that a buffer of this queue may have: if that is more than one, and indirect
 *   descriptors were negotiated, each buffer has a table for so many
 * @throws MemoryError MEMORY_NOT_CONTIGUOUS and others, VfioError
 */
export function createRing(
  transport: QueueAccess,
  features: NegotiatedFeatures,
  index: number,
  size: number,
  longestChain = 1,
): Virtqueue {
  const options = {
    index,
    size,
    eventIndex: features.has('VIRTIO_F_RING_EVENT_IDX'),
    notificationData: features.has('VIRTIO_F_NOTIFICATION_DATA'),
    indirectEntries: longestChain > 1 && features.has('VIRTIO_F_RING_INDIRECT_DESC') ? longestChain : 0,
  };
  const { memory } = transport;
  const inOrder = features.has('VIRTIO_F_IN_ORDER');
  if (isPacked(features)) {
    return inOrder ? new InOrderPackedVirtqueue(memory, options) : new PackedVirtqueue(memory, options);
  }
  const splitOptions = { ...options, legacy: transport.legacy };
  return inOrder ? new InOrderSplitVirtqueue(memory, splitOptions) : new SplitVirtqueue(memory, splitOptions);
}

/**
 * Chooses the number of descriptors of a queue. The device must be past FEATURES_OK: until then it may offer another
 * size than the ring format allows.
 *
 * @param wanted - what the program asks for, or undefined for the default
 * @throws DeviceError DEVICE_QUEUE_UNAVAILABLE, UsageError OPTION_INVALID
 */
export function chooseQueueSize(
  transport: QueueAccess,
  features: NegotiatedFeatures,
  queue: number,
  wanted: number | undefined,
): number {
  const most = queue < transport.queueCount ? transport.maxQueueSize(queue) : 0;
  if (most < 2) {
    throw new DeviceError(
      'DEVICE_QUEUE_UNAVAILABLE',
      `${transport.name} has no usable queue ${queue}: it has ${transport.queueCount} queues, this one of size ${most}`,
    );
  }
  if (transport.legacy) return fixedSize(transport, queue, most, wanted);
  const packed = isPacked(features);
  // A device may offer any number, but a split ring has a power of two (2.7).
  if (wanted === undefined) return Math.min(packed ? most : powerOfTwoUpTo(most), DEFAULT_QUEUE_SIZE);
  if (wanted > most) {
    throw invalidSize(wanted, `Queue ${queue} of ${transport.name} has at most ${most} descriptors.`);
  }
  if (!packed && wanted !== powerOfTwoUpTo(wanted)) {
    const format = `${transport.name} has split rings: VIRTIO_F_RING_PACKED was not negotiated`;
    throw invalidSize(wanted, `The size of a split ring is a power of two (VIRTIO 1.3, 2.7), and ${format}.`);
  }
  return wanted;
}

/** Through the legacy interface the device can not be told a size, so it must be the device's own (2.7.2). */
function fixedSize(transport: QueueAccess, queue: number, size: number, wanted: number | undefined): number {
  if (size !== powerOfTwoUpTo(size)) {
    throw new DeviceError(
      'DEVICE_QUEUE_UNAVAILABLE',
      `Queue ${queue} of ${transport.name} has ${size} descriptors, which is no power of two`,
    );
  }
  if (wanted === undefined || wanted === size) return size;
  throw invalidSize(
    wanted,
    `Through the legacy interface queue ${queue} of ${transport.name} has ${size} descriptors: give that or nothing.`,
  );
}

function isPacked(features: NegotiatedFeatures): boolean {
  return features.has('VIRTIO_F_RING_PACKED');
}

function powerOfTwoUpTo(most: number): number {
  return 2 ** Math.floor(Math.log2(most));
}

function invalidSize(size: number, remedy: string): UsageError {
  return new UsageError('OPTION_INVALID', `queueSize is ${size}`, { remedy });
}
