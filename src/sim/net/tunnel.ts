/** Looking into encapsulated packets, for the inner header hash (VIRTIO 1.3, 5.1.6.4.4). */
import { ipPacketAt, ipPacketOfInner, PROTOCOL, word, type IpPacket } from './dissect.js';

/** Bits of the encapsulation types. */
export const TUNNEL_TYPE = {
  GRE_2784: 1 << 0,
  GRE_2890: 1 << 1,
  GRE_7676: 1 << 2,
  GRE_UDP: 1 << 3,
  VXLAN: 1 << 4,
  VXLAN_GPE: 1 << 5,
  GENEVE: 1 << 6,
  IPIP: 1 << 7,
  NVGRE: 1 << 8,
} as const;

/** All encapsulation types of the specification. */
export const ALL_TUNNEL_TYPES = 0x1ff;

const PORT = { GRE: 4754, VXLAN: 4789, VXLAN_GPE: 4790, GENEVE: 6081 } as const;
const UDP_HEADER = 8;
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const BRIDGED = 0x6558;

const GRE_CHECKSUM = 0x8000;
const GRE_KEY = 0x2000;
const GRE_SEQUENCE = 0x1000;
const GRE_VERSION = 0x0007;

/** The packet inside of a tunnel packet whose encapsulation is among the enabled ones; undefined otherwise. */
export function innerPacketOf(frame: Uint8Array, outer: IpPacket, enabled: number): IpPacket | undefined {
  if (enabled === 0 || outer.fragment) return undefined;
  const { protocol, payload, end } = outer;
  if (protocol === PROTOCOL.GRE) return insideGre(frame, payload, outer, enabled);
  if (protocol === PROTOCOL.UDP && payload + UDP_HEADER <= end) return insideUdp(frame, payload, enabled);
  const isIpip = protocol === PROTOCOL.IPIP || protocol === PROTOCOL.IPV6;
  return isIpip && has(enabled, TUNNEL_TYPE.IPIP) ? ipPacketAt(frame, payload) : undefined;
}

function insideGre(frame: Uint8Array, at: number, outer: IpPacket, enabled: number): IpPacket | undefined {
  if (at + 4 > outer.end) return undefined;
  const flags = word(frame, at);
  const type = word(frame, at + 2);
  if ((flags & GRE_VERSION) !== 0 || !has(enabled, greType(flags, type, outer.version))) return undefined;
  return insideTyped(frame, at + greLength(flags), type);
}

/** NVGRE is GRE with a key and a bridged frame (RFC 7637), RFC 7676 is GRE over or with IPv6, RFC 2890 adds fields. */
function greType(flags: number, type: number, outerVersion: 4 | 6): number {
  if ((flags & GRE_KEY) !== 0 && type === BRIDGED) return TUNNEL_TYPE.NVGRE;
  if (outerVersion === 6 || type === IPV6) return TUNNEL_TYPE.GRE_7676;
  return (flags & (GRE_KEY | GRE_SEQUENCE)) === 0 ? TUNNEL_TYPE.GRE_2784 : TUNNEL_TYPE.GRE_2890;
}

function greLength(flags: number): number {
  return 4 + [GRE_CHECKSUM, GRE_KEY, GRE_SEQUENCE].reduce((sum, bit) => sum + (has(flags, bit) ? 4 : 0), 0);
}

function insideUdp(frame: Uint8Array, udp: number, enabled: number): IpPacket | undefined {
  const at = udp + UDP_HEADER;
  const port = word(frame, udp + 2);
  if (port === PORT.VXLAN && has(enabled, TUNNEL_TYPE.VXLAN)) return ipPacketOfInner(frame, at + 8);
  if (port === PORT.VXLAN_GPE && has(enabled, TUNNEL_TYPE.VXLAN_GPE)) return insideVxlanGpe(frame, at);
  if (port === PORT.GENEVE && has(enabled, TUNNEL_TYPE.GENEVE) && at + 8 <= frame.length)
    return insideTyped(frame, at + 8 + 4 * (frame[at] & 0x3f), word(frame, at + 2));
  if (port === PORT.GRE && has(enabled, TUNNEL_TYPE.GRE_UDP) && at + 4 <= frame.length)
    return insideTyped(frame, at + greLength(word(frame, at)), word(frame, at + 2));
  return undefined;
}

/** The next protocol is 1 for IPv4, 2 for IPv6, 3 for Ethernet. */
function insideVxlanGpe(frame: Uint8Array, at: number): IpPacket | undefined {
  if (at + 8 > frame.length) return undefined;
  const next = frame[at + 3];
  if (next === 3) return ipPacketOfInner(frame, at + 8);
  return next === 1 || next === 2 ? ipPacketAt(frame, at + 8, next === 1 ? 4 : 6) : undefined;
}

function insideTyped(frame: Uint8Array, at: number, type: number): IpPacket | undefined {
  if (type === BRIDGED) return ipPacketOfInner(frame, at);
  if (type !== IPV4 && type !== IPV6) return undefined;
  return ipPacketAt(frame, at, type === IPV4 ? 4 : 6);
}

function has(bits: number, bit: number): boolean {
  return (bits & bit) !== 0;
}
