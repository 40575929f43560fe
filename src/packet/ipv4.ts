/** The IPv4 header (RFC 791). */
import { IPV4_LENGTH } from './address.js';
import { checkedAddress, checkedField, roomFor, viewOf } from './bounds.js';
import { internetChecksum } from './checksum.js';

/** Length of a header without options, in bytes. */
export const IPV4_HEADER_LENGTH = 20;

/** Values of the protocol field. */
export const IP_PROTOCOL = { ICMP: 1, TCP: 6, UDP: 17 } as const;

const DEFAULT_TTL = 64;
const DONT_FRAGMENT = 0x4000;
const MORE_FRAGMENTS = 0x2000;
const FRAGMENT_OFFSET = 0x1fff;
const SOURCE = 12;
const DESTINATION = 16;

export interface Ipv4Fields {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  /** See {@link IP_PROTOCOL}. */
  readonly protocol: number;
  /** Length of what follows the header, in bytes. */
  readonly payloadLength: number;
  /** 64 if it is left out. */
  readonly ttl?: number;
  /** 0 if it is left out. */
  readonly identification?: number;
  /** True if it is left out. */
  readonly dontFragment?: boolean;
  /** DSCP and ECN, the second byte of the header; 0 if it is left out. */
  readonly trafficClass?: number;
}

/** A header that was read; the addresses are views of the bytes it was read from. */
export interface Ipv4Header extends Required<Ipv4Fields> {
  /** Length of the header with its options, in bytes. */
  readonly headerLength: number;
  readonly moreFragments: boolean;
  /** Where this fragment belongs in the payload, in bytes. */
  readonly fragmentOffset: number;
  /** Whether the header's checksum is right; a host must drop the packet if it is not. */
  readonly checksumValid: boolean;
  /** Where the payload starts in the array. */
  readonly payloadOffset: number;
  /** Where the payload ends, padding of the frame left out. */
  readonly payloadEnd: number;
}

/**
 * Writes an IPv4 header without options, its checksum included.
 *
 * @returns the bytes written: 20
 * @throws UsageError PACKET_NO_ROOM, PACKET_FIELD_INVALID
 */
export function writeIpv4(target: Uint8Array, offset: number, fields: Ipv4Fields): number {
  const view = roomFor('An IPv4 header', target, offset, IPV4_HEADER_LENGTH);
  const payloadLength = checkedField('payloadLength', fields.payloadLength, 0xffff - IPV4_HEADER_LENGTH);
  view.setUint8(0, 0x45);
  view.setUint8(1, checkedField('trafficClass', fields.trafficClass ?? 0, 0xff));
  view.setUint16(2, IPV4_HEADER_LENGTH + payloadLength);
  view.setUint16(4, checkedField('identification', fields.identification ?? 0, 0xffff));
  view.setUint16(6, (fields.dontFragment ?? true) ? DONT_FRAGMENT : 0);
  view.setUint8(8, checkedField('ttl', fields.ttl ?? DEFAULT_TTL, 0xff));
  view.setUint8(9, checkedField('protocol', fields.protocol, 0xff));
  view.setUint16(10, 0);
  const source = checkedAddress('source', fields.source, IPV4_LENGTH, target);
  const destination = checkedAddress('destination', fields.destination, IPV4_LENGTH, target);
  target.set(source, offset + SOURCE);
  target.set(destination, offset + DESTINATION);
  view.setUint16(10, internetChecksum(target, offset, offset + IPV4_HEADER_LENGTH));
  return IPV4_HEADER_LENGTH;
}

/**
 * Reads the IPv4 header of a packet that lies from `offset` to `end`, options skipped.
 *
 * @returns undefined if it is not IPv4, or the packet is cut short; a wrong checksum is told in the result
 */
export function readIpv4(bytes: Uint8Array, offset = 0, end: number = bytes.length): Ipv4Header | undefined {
  const view = viewOf(bytes, offset, end, IPV4_HEADER_LENGTH);
  if (view === undefined || view.getUint8(0) >> 4 !== 4) return undefined;
  const headerLength = (view.getUint8(0) & 0xf) * 4;
  const totalLength = view.getUint16(2);
  if (headerLength < IPV4_HEADER_LENGTH || totalLength < headerLength || totalLength > end - offset) {
    return undefined;
  }
  return { ...readFixed(bytes, offset, view), ...readExtent(bytes, offset, headerLength, totalLength) };
}

function readFixed(bytes: Uint8Array, offset: number, view: DataView): FixedFields {
  const fragment = view.getUint16(6);
  return {
    trafficClass: view.getUint8(1),
    identification: view.getUint16(4),
    dontFragment: (fragment & DONT_FRAGMENT) !== 0,
    moreFragments: (fragment & MORE_FRAGMENTS) !== 0,
    fragmentOffset: (fragment & FRAGMENT_OFFSET) * 8,
    ttl: view.getUint8(8),
    protocol: view.getUint8(9),
    source: bytes.subarray(offset + SOURCE, offset + DESTINATION),
    destination: bytes.subarray(offset + DESTINATION, offset + IPV4_HEADER_LENGTH),
  };
}

type Extent = Pick<
  Ipv4Header,
  'headerLength' | 'payloadLength' | 'checksumValid' | 'payloadOffset' | 'payloadEnd'
>;
type FixedFields = Omit<Ipv4Header, keyof Extent>;

function readExtent(bytes: Uint8Array, offset: number, headerLength: number, totalLength: number): Extent {
  return {
    headerLength,
    payloadLength: totalLength - headerLength,
    checksumValid: internetChecksum(bytes, offset, offset + headerLength) === 0,
    payloadOffset: offset + headerLength,
    payloadEnd: offset + totalLength,
  };
}
