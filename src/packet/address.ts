/** MAC and IPv4 addresses: their text and their bytes in network order. */
import { UsageError } from '../errors.js';

/** Length of a MAC address in bytes. */
export const MAC_LENGTH = 6;
/** Length of an IPv4 address in bytes. */
export const IPV4_LENGTH = 4;

/** The broadcast MAC address, as text. */
export const BROADCAST_MAC = 'ff:ff:ff:ff:ff:ff';

const MAC_TEXT = /^[0-9a-f]{2}([:-])[0-9a-f]{2}(?:\1[0-9a-f]{2}){4}$/i;
// A leading zero is refused: some programs take it for octal, others do not.
const IPV4_TEXT = /^(?:(?:0|[1-9]\d{0,2})\.){3}(?:0|[1-9]\d{0,2})$/;

/**
 * The six bytes of a MAC address such as `52:54:00:12:34:56` (or with `-`).
 *
 * @throws UsageError ADDRESS_MALFORMED
 */
export function parseMac(text: string): Uint8Array<ArrayBuffer> {
  if (!MAC_TEXT.test(text)) throw malformed(text, 'a MAC');
  return Uint8Array.from(text.split(/[:-]/), (part) => Number.parseInt(part, 16));
}

/** The text of the MAC address at `offset`, in lower case with colons. The array must hold its six bytes. */
export function formatMac(bytes: Uint8Array, offset = 0): string {
  return Array.from(bytes.subarray(offset, offset + MAC_LENGTH), hexByte).join(':');
}

/**
 * The four bytes of an IPv4 address such as `10.0.2.15`.
 *
 * @throws UsageError ADDRESS_MALFORMED
 */
export function parseIpv4(text: string): Uint8Array<ArrayBuffer> {
  const parts = IPV4_TEXT.test(text) ? text.split('.').map(Number) : [];
  if (parts.length !== IPV4_LENGTH || parts.some((part) => part > 255)) throw malformed(text, 'an IPv4');
  return Uint8Array.from(parts);
}

/** The text of the IPv4 address at `offset`. The array must hold its four bytes. */
export function formatIpv4(bytes: Uint8Array, offset = 0): string {
  return bytes.subarray(offset, offset + IPV4_LENGTH).join('.');
}

/** Whether two addresses of the same kind are the same. */
export function sameAddress(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, index) => byte === right[index]);
}

/** Whether the bytes are the broadcast MAC address. */
export function isBroadcastMac(mac: Uint8Array): boolean {
  return mac.length === MAC_LENGTH && mac.every((byte) => byte === 0xff);
}

function hexByte(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}

function malformed(text: string, kind: string): UsageError {
  return new UsageError('ADDRESS_MALFORMED', `${JSON.stringify(text)} is not ${kind} address`);
}
