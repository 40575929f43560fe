/**
 * The rings that a device gets: packed where both sides can do that, otherwise split (VIRTIO 1.3, 2.7, 2.8).
 */
import { DeviceError, UsageError } from '../errors.js';
import type { Transport } from '../transport/transport.js';
import { PackedVirtqueue } from '../virtqueue/packed-virtqueue.js';
import { SplitVirtqueue } from '../virtqueue/split-virtqueue.js';
import type { Virtqueue } from '../virtqueue/virtqueue.js';
import type { NegotiatedFeatures } from './features.js';

/** Larger rings cost memory and cache, and gain little. */
const DEFAULT_QUEUE_SIZE = 256;

/**
 * Allocates a ring in the format that was negotiated.
 *
 * @throws MemoryError, VfioError
 */
export function createRing(
  transport: Transport,
  features: NegotiatedFeatures,
  index: number,
  size: number,
): Virtqueue {
  const options = { index, size, eventIndex: features.has('VIRTIO_F_RING_EVENT_IDX') };
  return isPacked(features)
    ? new PackedVirtqueue(transport.memory, options)
    : new SplitVirtqueue(transport.memory, options);
}

/**
 * Chooses the number of descriptors of a queue. The device must be past FEATURES_OK: until then it may offer another
 * size than the ring format allows.
 *
 * @param wanted - what the program asks for, or undefined for the default
 * @throws DeviceError DEVICE_QUEUE_UNAVAILABLE, UsageError OPTION_INVALID
 */
export function chooseQueueSize(
  transport: Transport,
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

function isPacked(features: NegotiatedFeatures): boolean {
  return features.has('VIRTIO_F_RING_PACKED');
}

function powerOfTwoUpTo(most: number): number {
  return 2 ** Math.floor(Math.log2(most));
}

function invalidSize(size: number, remedy: string): UsageError {
  return new UsageError('OPTION_INVALID', `queueSize is ${size}`, { remedy });
}
