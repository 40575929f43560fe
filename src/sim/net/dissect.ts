/** Finding the headers of a frame: VLAN tags, IP, and what it carries. Nothing here trusts a length that it reads. */

const MAC_ADDRESSES = 12;
const TAG_LENGTH = 4;
const VLAN_TYPES: readonly number[] = [0x8100, 0x88a8];
const VLAN_ID_MASK = 0xfff;
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const IPV6_HEADER = 40;

/** Protocol numbers of IP. */
export const PROTOCOL = { IPIP: 4, TCP: 6, UDP: 17, IPV6: 41, GRE: 47 } as const;

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const DESTINATION_OPTIONS = 60;
const HOME_ADDRESS_OPTION = 0xc9;

/** An IP packet within a frame. All offsets count from the start of the frame. */
export interface IpPacket {
  readonly version: 4 | 6;
  /** Where the IP header starts. */
  readonly start: number;
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  /** What comes behind the IP header and its extensions; undefined where that is not to be known. */
  readonly protocol: number | undefined;
  /** Where that starts. */
  readonly payload: number;
  /** Where the packet ends: padding of the frame is left out. */
  readonly end: number;
  /** Whether it is a part of a larger packet. */
  readonly fragment: boolean;
  /** Whether an IPv6 packet has extension headers. */
  readonly extended: boolean;
  /** The home address option and the type 2 routing header of IPv6, where they are there (RFC 6275). */
  readonly home: Uint8Array | undefined;
  readonly routed: Uint8Array | undefined;
}

/** The id of the outermost VLAN tag of a frame; undefined if it has none. */
export function vlanOf(frame: Uint8Array): number | undefined {
  if (frame.length < MAC_ADDRESSES + TAG_LENGTH || !VLAN_TYPES.includes(word(frame, MAC_ADDRESSES)))
    return undefined;
  return word(frame, MAC_ADDRESSES + 2) & VLAN_ID_MASK;
}

/** The length of the Ethernet header with its VLAN tags. */
export function linkHeaderLength(frame: Uint8Array): number {
  let at = MAC_ADDRESSES;
  while (at + TAG_LENGTH + 2 <= frame.length && VLAN_TYPES.includes(word(frame, at))) at += TAG_LENGTH;
  return at + 2;
}

/** The IP packet in a frame; undefined if there is none, or it is cut short. */
export function ipPacketOf(frame: Uint8Array): IpPacket | undefined {
  const start = linkHeaderLength(frame);
  const type = start <= frame.length ? word(frame, start - 2) : 0;
  if (type !== IPV4 && type !== IPV6) return undefined;
  return ipPacketAt(frame, start, type === IPV4 ? 4 : 6);
}

/** The IP packet that starts at an offset; undefined if it is of another version or cut short. */
export function ipPacketAt(bytes: Uint8Array, start: number, version?: 4 | 6): IpPacket | undefined {
  const found = start < bytes.length ? bytes[start] >> 4 : 0;
  if (version !== undefined && found !== version) return undefined;
  if (found === 4) return ipv4At(bytes, start);
  return found === 6 ? ipv6At(bytes, start) : undefined;
}

/** The Ethernet frame inside of a tunnel. */
export function ipPacketOfInner(frame: Uint8Array, start: number): IpPacket | undefined {
  const inner = frame.subarray(start);
  const packet = ipPacketOf(inner);
  return packet === undefined ? undefined : ipPacketAt(frame, start + packet.start, packet.version);
}

/** A 16-bit word in network order. */
export function word(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

function ipv4At(bytes: Uint8Array, start: number): IpPacket | undefined {
  if (start + 20 > bytes.length) return undefined;
  const headerLength = 4 * (bytes[start] & 0xf);
  const length = word(bytes, start + 2);
  // A total length of 0 stands for "too long to say" where a packet is to be segmented.
  const end = length === 0 ? bytes.length : start + length;
  if (headerLength < 20 || end < start + headerLength || end > bytes.length) return undefined;
  const fragmentation = word(bytes, start + 6);
  const offset = fragmentation & 0x1fff;
  return {
    version: 4,
    start,
    source: bytes.subarray(start + 12, start + 16),
    destination: bytes.subarray(start + 16, start + 20),
    protocol: offset === 0 ? bytes[start + 9] : undefined,
    payload: start + headerLength,
    end,
    fragment: (fragmentation & 0x3fff) !== 0,
    extended: false,
    home: undefined,
    routed: undefined,
  };
}

function ipv6At(bytes: Uint8Array, start: number): IpPacket | undefined {
  if (start + IPV6_HEADER > bytes.length) return undefined;
  const length = word(bytes, start + 4);
  const end = length === 0 ? bytes.length : start + IPV6_HEADER + length;
  if (end > bytes.length) return undefined;
  const extensions = walkExtensions(bytes, start + IPV6_HEADER, end, bytes[start + 6]);
  return {
    version: 6,
    start,
    source: bytes.subarray(start + 8, start + 24),
    destination: bytes.subarray(start + 24, start + 40),
    end,
    ...extensions,
  };
}

type Extensions = Pick<IpPacket, 'protocol' | 'payload' | 'fragment' | 'extended' | 'home' | 'routed'>;

function walkExtensions(bytes: Uint8Array, from: number, end: number, first: number): Extensions {
  let at = from;
  let next = first;
  let fragment = false;
  let home: Uint8Array | undefined;
  let routed: Uint8Array | undefined;
  const found = (protocol: number | undefined): Extensions => ({
    protocol,
    payload: at,
    fragment,
    extended: at > from,
    home,
    routed,
  });
  while ([HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS].includes(next)) {
    const length = next === FRAGMENT || at + 8 > end ? 8 : 8 * (bytes[at + 1] + 1);
    if (at + length > end) return found(undefined);
    if (next === DESTINATION_OPTIONS) home ??= homeAddress(bytes, at + 2, at + length);
    if (next === ROUTING && bytes[at + 2] === 2 && length === 24) routed = bytes.subarray(at + 8, at + 24);
    const fragmentation = next === FRAGMENT ? word(bytes, at + 2) : 0;
    fragment ||= (fragmentation & 0xfff9) !== 0;
    next = bytes[at];
    at += length;
    if ((fragmentation & 0xfff8) !== 0) return found(undefined);
  }
  return found(next);
}

/** The home address among the destination options (RFC 6275, 6.3). */
function homeAddress(bytes: Uint8Array, from: number, end: number): Uint8Array | undefined {
  for (let at = from; at < end;) {
    if (bytes[at] === 0) {
      at++;
      continue;
    }
    if (at + 2 > end) return undefined;
    const length = bytes[at + 1];
    if (bytes[at] === HOME_ADDRESS_OPTION && length === 16 && at + 18 <= end)
      return bytes.subarray(at + 2, at + 18);
    at += 2 + length;
  }
  return undefined;
}
