/** ICMP for IPv4 (RFC 792): echo, and the errors that answer a packet. */
import { checkedField, roomFor, viewOf } from './bounds.js';
import { internetChecksum } from './checksum.js';

/** Length of the header of every ICMP message that is read or written here, in bytes. */
export const ICMP_HEADER_LENGTH = 8;

// What an IPv4 packet without options can hold.
const DATA_MAX = 0xffff - 20 - ICMP_HEADER_LENGTH;

/** Values of the type field. */
export const ICMP_TYPE = {
  ECHO_REPLY: 0,
  DESTINATION_UNREACHABLE: 3,
  ECHO_REQUEST: 8,
  TIME_EXCEEDED: 11,
} as const;

/** Values of the code field of a destination unreachable message. */
export const UNREACHABLE_CODE = {
  NETWORK: 0,
  HOST: 1,
  PROTOCOL: 2,
  PORT: 3,
  FRAGMENTATION_NEEDED: 4,
} as const;

export interface IcmpEchoFields {
  /** {@link ICMP_TYPE}.ECHO_REQUEST or ECHO_REPLY. */
  readonly type: typeof ICMP_TYPE.ECHO_REQUEST | typeof ICMP_TYPE.ECHO_REPLY;
  /** Tells the programs of a host apart, 16 bits. */
  readonly identifier: number;
  /** Tells the requests of a program apart, 16 bits. */
  readonly sequence: number;
}

interface MessageExtent {
  /** Whether the checksum of the whole message is right; a host must drop the message if it is not. */
  readonly checksumValid: boolean;
  /** Where what follows the header starts in the array. */
  readonly payloadOffset: number;
  /** Where it ends. */
  readonly payloadEnd: number;
}

/** An echo message that was read; its data lies from `payloadOffset` to `payloadEnd`. */
export interface IcmpEcho extends IcmpEchoFields, MessageExtent {}

/** An error message that was read; from `payloadOffset` on lies the IP header of the packet it is about. */
export interface IcmpError extends MessageExtent {
  readonly type: typeof ICMP_TYPE.DESTINATION_UNREACHABLE | typeof ICMP_TYPE.TIME_EXCEEDED;
  /** For DESTINATION_UNREACHABLE see {@link UNREACHABLE_CODE}. */
  readonly code: number;
  /** The MTU of the hop that the packet did not fit through (RFC 1191), if it was told; 0 if not. */
  readonly nextHopMtu: number;
}

/**
 * Writes the header of an echo message over the data that follows it, the checksum of both included.
 *
 * Put the data at `offset + 8` first.
 *
 * @param end - where the data ends in `target`
 * @returns the length of the whole message in bytes
 * @throws UsageError PACKET_NO_ROOM, PACKET_FIELD_INVALID
 */
export function writeIcmpEcho(
  target: Uint8Array,
  offset: number,
  fields: IcmpEchoFields,
  end: number = offset + ICMP_HEADER_LENGTH,
): number {
  const view = roomFor('An ICMP echo header', target, offset, ICMP_HEADER_LENGTH);
  const dataLength = checkedField('dataLength', end - offset - ICMP_HEADER_LENGTH, DATA_MAX);
  const length = ICMP_HEADER_LENGTH + dataLength;
  roomFor('An ICMP echo message', target, offset, length);
  view.setUint8(0, checkedField('type', fields.type, 0xff));
  view.setUint8(1, 0);
  view.setUint16(2, 0);
  view.setUint16(4, checkedField('identifier', fields.identifier, 0xffff));
  view.setUint16(6, checkedField('sequence', fields.sequence, 0xffff));
  view.setUint16(2, internetChecksum(target, offset, offset + length));
  return length;
}

/** Reads an echo request or reply that lies from `offset` to `end`; undefined if it is something else. */
export function readIcmpEcho(
  bytes: Uint8Array,
  offset = 0,
  end: number = bytes.length,
): IcmpEcho | undefined {
  const view = viewOf(bytes, offset, end, ICMP_HEADER_LENGTH);
  if (view?.getUint8(1) !== 0) return undefined;
  const type = view.getUint8(0);
  if (type !== ICMP_TYPE.ECHO_REQUEST && type !== ICMP_TYPE.ECHO_REPLY) return undefined;
  const identifier = view.getUint16(4);
  const sequence = view.getUint16(6);
  return { type, identifier, sequence, ...extentOf(bytes, offset, end) };
}

/** Reads a destination unreachable or time exceeded message; undefined if it is something else. */
export function readIcmpError(
  bytes: Uint8Array,
  offset = 0,
  end: number = bytes.length,
): IcmpError | undefined {
  const view = viewOf(bytes, offset, end, ICMP_HEADER_LENGTH);
  if (view === undefined) return undefined;
  const type = view.getUint8(0);
  if (type !== ICMP_TYPE.DESTINATION_UNREACHABLE && type !== ICMP_TYPE.TIME_EXCEEDED) return undefined;
  const code = view.getUint8(1);
  const tooBig = type === ICMP_TYPE.DESTINATION_UNREACHABLE && code === UNREACHABLE_CODE.FRAGMENTATION_NEEDED;
  return { type, code, nextHopMtu: tooBig ? view.getUint16(6) : 0, ...extentOf(bytes, offset, end) };
}

function extentOf(bytes: Uint8Array, offset: number, end: number): MessageExtent {
  return {
    checksumValid: internetChecksum(bytes, offset, end) === 0,
    payloadOffset: offset + ICMP_HEADER_LENGTH,
    payloadEnd: end,
  };
}
