import { DeviceError } from '../errors.js';
import type { Transport } from '../transport/transport.js';
import { freeAll } from './free-all.js';
import { QueuePair, type QueuePairOptions } from './queue-pair.js';

/**
 * Allocates rings and buffers of the queue pairs 0 to `count - 1`; none is left where one can not be had.
 *
 * @param most - how many pairs the device has
 * @throws DeviceError QUEUE_PAIRS_TOO_FEW, DEVICE_QUEUE_UNAVAILABLE, UsageError OPTION_INVALID, MemoryError, VfioError
 */
export function createQueuePairs(
  transport: Transport,
  count: number,
  most: number,
  options: QueuePairOptions,
): QueuePair[] {
  if (count > most) throw tooFew(transport, count, most, options);
  const pairs: QueuePair[] = [];
  try {
    for (let number = 0; number < count; number += 1) {
      pairs.push(QueuePair.create(transport, number, options));
    }
    return pairs;
  } catch (error) {
    freeAll(pairs);
    throw error;
  }
}

function tooFew(
  transport: Transport,
  count: number,
  most: number,
  { features }: QueuePairOptions,
): DeviceError {
  const has = features.has('VIRTIO_NET_F_MQ') || features.has('VIRTIO_NET_F_RSS');
  return new DeviceError(
    'QUEUE_PAIRS_TOO_FEW',
    `${count} queue pairs are asked for, but ${transport.name} has ${most}`,
    has ? {} : { remedy: 'Neither VIRTIO_NET_F_MQ nor VIRTIO_NET_F_RSS was negotiated: ask for one pair.' },
  );
}
