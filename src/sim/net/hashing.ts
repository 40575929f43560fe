/** The hash of an incoming frame: which of its fields are hashed, and under which type (VIRTIO 1.3, 5.1.6.4.3). */
import { ipPacketOf, PROTOCOL, type IpPacket } from './dissect.js';
import { toeplitzHash } from './toeplitz.js';
import { innerPacketOf } from './tunnel.js';

/** Bits of the hash types. */
export const HASH_TYPE = {
  IPv4: 1 << 0,
  TCPv4: 1 << 1,
  UDPv4: 1 << 2,
  IPv6: 1 << 3,
  TCPv6: 1 << 4,
  UDPv6: 1 << 5,
  IP_EX: 1 << 6,
  TCP_EX: 1 << 7,
  UDP_EX: 1 << 8,
} as const;

/** All hash types of the specification. */
export const ALL_HASH_TYPES = 0x1ff;

/** What frames are hashed with. */
export interface HashSettings {
  /** The enabled hash types. */
  readonly types: number;
  readonly key: Uint8Array;
  /** The encapsulations that are looked into (VIRTIO 1.3, 5.1.6.4.4). */
  readonly tunnelTypes: number;
}

/** A hash that was calculated. */
export interface FrameHash {
  readonly value: number;
  /** What the header of the frame reports it as. */
  readonly report: number;
}

/** The types for one version of IP: with TCP ports, with UDP ports, the addresses alone. */
interface TypeSet {
  readonly tcp: number;
  readonly udp: number;
  readonly ip: number;
}

const IPV4_TYPES: TypeSet = { tcp: HASH_TYPE.TCPv4, udp: HASH_TYPE.UDPv4, ip: HASH_TYPE.IPv4 };
const IPV6_TYPES: TypeSet = { tcp: HASH_TYPE.TCPv6, udp: HASH_TYPE.UDPv6, ip: HASH_TYPE.IPv6 };
const EXTENDED_TYPES: TypeSet = { tcp: HASH_TYPE.TCP_EX, udp: HASH_TYPE.UDP_EX, ip: HASH_TYPE.IP_EX };

/** Hashes a frame; undefined where none of the enabled types fits it. */
export function hashFrame(frame: Uint8Array, settings: HashSettings): FrameHash | undefined {
  const outer = ipPacketOf(frame);
  if (outer === undefined) return undefined;
  const packet = innerPacketOf(frame, outer, settings.tunnelTypes) ?? outer;
  return hashPacket(frame, packet, settings);
}

function hashPacket(frame: Uint8Array, packet: IpPacket, settings: HashSettings): FrameHash | undefined {
  if (packet.version === 4) return hashAs(frame, packet, IPV4_TYPES, settings);
  if (!packet.extended) return hashAs(frame, packet, IPV6_TYPES, settings);
  const { home, routed } = packet;
  const extended = { ...packet, source: home ?? packet.source, destination: routed ?? packet.destination };
  return hashAs(frame, extended, EXTENDED_TYPES, settings) ?? hashAs(frame, packet, IPV6_TYPES, settings);
}

function hashAs(
  frame: Uint8Array,
  packet: IpPacket,
  set: TypeSet,
  settings: HashSettings,
): FrameHash | undefined {
  const ports = portsOf(frame, packet);
  const portType = packet.protocol === PROTOCOL.TCP ? set.tcp : set.udp;
  const addresses = [...packet.source, ...packet.destination];
  if (ports !== undefined && (settings.types & portType) !== 0)
    return hashOver(portType, [...addresses, ...ports], settings.key);
  return (settings.types & set.ip) === 0 ? undefined : hashOver(set.ip, addresses, settings.key);
}

/** The two ports of a TCP or UDP packet, as four bytes; undefined if it is neither, or no port can be seen. */
export function portsOf(frame: Uint8Array, packet: IpPacket): Uint8Array | undefined {
  const { protocol, payload, end, fragment } = packet;
  const hasPorts = protocol === PROTOCOL.TCP || protocol === PROTOCOL.UDP;
  return hasPorts && !fragment && payload + 4 <= end ? frame.subarray(payload, payload + 4) : undefined;
}

/** VIRTIO_NET_HASH_TYPE_x = 1 << (VIRTIO_NET_HASH_REPORT_x - 1). */
function hashOver(type: number, input: readonly number[], key: Uint8Array): FrameHash {
  return { value: toeplitzHash(key, Uint8Array.from(input)), report: Math.log2(type) + 1 };
}
