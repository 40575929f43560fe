/**
 * Where the TCP or UDP header of an Ethernet frame begins: behind VLAN tags and the IPv4 or IPv6 header with its options
 * and extensions.
 */
import { ETHERNET_HEADER_SIZE, VLAN_TAG_SIZE } from './header-constants.js';

/** IEEE 802.3 type numbers. */
export const ETHER_TYPE_IPV4 = 0x0800;
export const ETHER_TYPE_IPV6 = 0x86dd;

export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;

/** Offset in a TCP and in a UDP header of the checksum. */
export const TCP_CHECKSUM = 16;
export const UDP_CHECKSUM = 6;

/** Length in bytes of an IPv6 header without extensions. */
export const IPV6_HEADER_SIZE = 40;
const ROUTING = 43;
/** Hop-by-hop options, routing, destination options. */
const IPV6_EXTENSIONS = new Set([0, ROUTING, 60]);

/** What a frame carries. All offsets are in bytes from its start on. */
export interface TransportHeader {
  readonly etherType: number;
  /** Offset of the IP header. */
  readonly networkStart: number;
  /** Number of the protocol: 6 for TCP, 17 for UDP. */
  readonly protocol: number;
  /** Offset of the TCP or UDP header. */
  readonly start: number;
}

/** Whether a frame carries an IEEE 802.1Q or 802.1ad tag. */
export function isVlanTagged(bytes: Uint8Array, start: number): boolean {
  return isVlanType(typeAt(bytes, start + ETHERNET_HEADER_SIZE - 2));
}

/** Where the EtherType of the frame lies that begins at `start`, behind VLAN tags. */
export function etherTypeAt(bytes: Uint8Array, start: number, end: number): number {
  let at = start + ETHERNET_HEADER_SIZE - 2;
  while (at + 2 <= end && isVlanType(typeAt(bytes, at))) at += VLAN_TAG_SIZE;
  return at;
}

/** Two bytes in network order, such as an EtherType; 0 beyond the end of the array. */
export function typeAt(bytes: Uint8Array, at: number): number {
  return at + 2 <= bytes.length ? (bytes[at] << 8) | bytes[at + 1] : 0;
}

/**
 * Finds the TCP or UDP header of a frame.
 *
 * @param frame - the frame, or as much of it as is in one piece
 * @returns undefined if there is none, or not in these bytes: another protocol, a fragment, cut short, or if it is on a
 *   route of which its IP header does not tell the end
 */
export function findTransportHeader(frame: Uint8Array): TransportHeader | undefined {
  const type = etherTypeAt(frame, 0, frame.length);
  const etherType = typeAt(frame, type);
  const networkStart = type + 2;
  const found =
    etherType === ETHER_TYPE_IPV4
      ? behindIpv4(frame, networkStart)
      : etherType === ETHER_TYPE_IPV6
        ? behindIpv6(frame, networkStart)
        : undefined;
  if (found === undefined || !fits(frame, found)) return undefined;
  return { etherType, networkStart, ...found };
}

interface Found {
  readonly protocol: number;
  readonly start: number;
}

function behindIpv4(frame: Uint8Array, at: number): Found | undefined {
  if (at + 20 > frame.length || frame[at] >> 4 !== 4) return undefined;
  const length = (frame[at] & 15) * 4;
  const moreOrLater = typeAt(frame, at + 6) & 0x3fff;
  if (length < 20 || moreOrLater !== 0) return undefined;
  return { protocol: frame[at + 9], start: at + length };
}

function behindIpv6(frame: Uint8Array, at: number): Found | undefined {
  if (at + IPV6_HEADER_SIZE > frame.length || frame[at] >> 4 !== 6) return undefined;
  let protocol = frame[at + 6];
  let start = at + IPV6_HEADER_SIZE;
  while (IPV6_EXTENSIONS.has(protocol)) {
    if (start + 4 > frame.length) return undefined;
    // As long as it has segments left, the checksum is over another destination than the header has (RFC 8200, 8.1).
    if (protocol === ROUTING && frame[start + 3] !== 0) return undefined;
    protocol = frame[start];
    start += (frame[start + 1] + 1) * 8;
  }
  return { protocol, start };
}

function fits(frame: Uint8Array, { protocol, start }: Found): boolean {
  if (protocol === PROTOCOL_TCP) return start + 20 <= frame.length;
  return protocol === PROTOCOL_UDP && start + 8 <= frame.length;
}

function isVlanType(type: number): boolean {
  return type === 0x8100 || type === 0x88a8;
}
