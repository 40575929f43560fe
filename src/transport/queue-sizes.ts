/** What a driver may ask of a queue, before the device sees it. */
import { DeviceError, UsageError } from '../errors.js';

/** The largest queue that there can be (VIRTIO 1.3, 2.6 and 2.8). */
export const LARGEST_QUEUE = 32768;

export const isPowerOfTwo = (size: number): boolean => size > 0 && (size & (size - 1)) === 0;

/** The error for a queue that the driver can not use. */
export function queueUnavailable(device: string, queue: number, what: string): DeviceError {
  return new DeviceError('DEVICE_QUEUE_UNAVAILABLE', `Queue ${queue} of ${device} ${what}`);
}

/** A size that a ring of that format can not have. */
export function checkRingSize(queue: number, size: number, packed: boolean): void {
  if (Number.isInteger(size) && size >= 1 && (packed || isPowerOfTwo(size))) return;
  throw new UsageError('OPTION_INVALID', `Queue ${queue} can not have the size ${size}`, {
    remedy: 'The size of a split ring is a power of two, that of a packed ring at least 1.',
  });
}
