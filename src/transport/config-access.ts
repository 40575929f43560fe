import { DeviceError } from '../errors.js';
import type { AccessWidth, Transport } from './transport.js';

/**
 * Checks an access to the device-specific configuration.
 *
 * @throws RangeError where it is not aligned; DeviceError DEVICE_CONFIG_INVALID where the device has no such field
 */
export function checkConfigAccess(
  { name, configLength }: Pick<Transport, 'name' | 'configLength'>,
  offset: number,
  width: AccessWidth,
): void {
  if (!Number.isInteger(offset) || offset < 0 || offset % width !== 0) {
    throw new RangeError(`An access of ${width} bytes at ${offset} is not aligned`);
  }
  if (offset + width <= configLength) return;
  throw new DeviceError(
    'DEVICE_CONFIG_INVALID',
    `The configuration of ${name} has ${configLength} bytes and no field of ${width} bytes at ${offset}`,
  );
}
