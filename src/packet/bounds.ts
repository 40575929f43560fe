/** What the codecs check before they touch an array. */
import { UsageError } from '../errors.js';

/**
 * A view of the `length` bytes at `offset`, for writing a header.
 *
 * @throws UsageError PACKET_NO_ROOM
 */
export function roomFor(what: string, target: Uint8Array, offset: number, length: number): DataView {
  if (!isRange(target, offset, offset + length)) {
    const has = `an array of ${target.length} bytes`;
    throw new UsageError('PACKET_NO_ROOM', `${what} of ${length} bytes at offset ${offset} exceeds ${has}`);
  }
  return new DataView(target.buffer, target.byteOffset + offset, length);
}

/**
 * A view of the bytes from `offset` to `end` if they are at least `least`, for reading a header;
 * undefined where they are not, or do not lie in the array.
 */
export function viewOf(bytes: Uint8Array, offset: number, end: number, least: number): DataView | undefined {
  if (!isRange(bytes, offset, end) || end - offset < least) return undefined;
  return new DataView(bytes.buffer, bytes.byteOffset + offset, end - offset);
}

/**
 * The value, if it is a whole number from 0 to `max`.
 *
 * @throws UsageError PACKET_FIELD_INVALID
 */
export function checkedField(name: string, value: number, max: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw new UsageError('PACKET_FIELD_INVALID', `${name} is ${value}, not a whole number from 0 to ${max}`);
}

/**
 * The address, if it has its fixed length. Where it is a view of the memory that the header is written to, it is a
 * copy, so that the addresses of a received packet can change places.
 *
 * @throws UsageError PACKET_FIELD_INVALID
 */
export function checkedAddress(
  name: string,
  address: Uint8Array,
  length: number,
  target: Uint8Array,
): Uint8Array {
  if (address.length !== length) {
    throw new UsageError('PACKET_FIELD_INVALID', `${name} has ${address.length} bytes, not ${length}`);
  }
  // Not slice(): that of a Buffer is a view again.
  return address.buffer === target.buffer ? new Uint8Array(address) : address;
}

function isRange(bytes: Uint8Array, offset: number, end: number): boolean {
  return (
    Number.isInteger(offset) && Number.isInteger(end) && offset >= 0 && offset <= end && end <= bytes.length
  );
}
