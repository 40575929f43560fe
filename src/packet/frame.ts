/** Whole frames: the codecs of this folder put together for the packets that every program needs first. */
import { BROADCAST_MAC, parseMac } from './address.js';
import { ARP_LENGTH, ARP_OPERATION, readArp, writeArp, type ArpFields } from './arp.js';
import { ETHERNET_HEADER_LENGTH, ETHER_TYPE, readEthernet, writeEthernet } from './ethernet.js';
import type { EthernetHeader } from './ethernet.js';
import { ICMP_HEADER_LENGTH, ICMP_TYPE, readIcmpEcho, writeIcmpEcho } from './icmp.js';
import type { IcmpEcho, IcmpEchoFields } from './icmp.js';
import { IPV4_HEADER_LENGTH, IP_PROTOCOL, readIpv4, writeIpv4, type Ipv4Header } from './ipv4.js';
import { roomFor } from './bounds.js';

/** Length of an ARP frame without padding, in bytes. */
export const ARP_FRAME_LENGTH = ETHERNET_HEADER_LENGTH + ARP_LENGTH;
/** What comes before the data of an ICMP echo frame, in bytes. */
export const ICMP_ECHO_OVERHEAD = ETHERNET_HEADER_LENGTH + IPV4_HEADER_LENGTH + ICMP_HEADER_LENGTH;

const BROADCAST = parseMac(BROADCAST_MAC);
const NO_MAC = new Uint8Array(6);
const NO_DATA = new Uint8Array(0);

/**
 * The frame that asks everyone on the link for the MAC address of `targetIp`.
 *
 * @throws UsageError PACKET_FIELD_INVALID
 */
export function buildArpRequest(
  fields: Pick<ArpFields, 'senderMac' | 'senderIp' | 'targetIp'>,
): Uint8Array<ArrayBuffer> {
  const arp = { ...fields, operation: ARP_OPERATION.REQUEST, targetMac: NO_MAC };
  return buildArp(BROADCAST, arp);
}

/**
 * The frame that answers an ARP request: `senderIp` is at `senderMac`.
 *
 * @throws UsageError PACKET_FIELD_INVALID
 */
export function buildArpReply(fields: Omit<ArpFields, 'operation'>): Uint8Array<ArrayBuffer> {
  return buildArp(fields.targetMac, { ...fields, operation: ARP_OPERATION.REPLY });
}

function buildArp(destination: Uint8Array, arp: ArpFields): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(ARP_FRAME_LENGTH);
  writeEthernet(frame, 0, { destination, source: arp.senderMac, etherType: ETHER_TYPE.ARP });
  writeArp(frame, ETHERNET_HEADER_LENGTH, arp);
  return frame;
}

/** Reads an ARP frame that lies from `offset` to `end`; undefined if it is something else or cut short. */
export function readArpFrame(
  frame: Uint8Array,
  offset = 0,
  end: number = frame.length,
): ArpFields | undefined {
  const ethernet = readEthernet(frame, offset, end);
  if (ethernet?.etherType !== ETHER_TYPE.ARP) return undefined;
  return readArp(frame, ethernet.payloadOffset, end);
}

/** What an ICMP echo frame is made of. */
export interface EchoFrameFields extends Omit<IcmpEchoFields, 'type'> {
  /** A request if it is left out. */
  readonly type?: IcmpEchoFields['type'];
  readonly sourceMac: Uint8Array;
  readonly destinationMac: Uint8Array;
  readonly sourceIp: Uint8Array;
  readonly destinationIp: Uint8Array;
  /** The data that the reply brings back; at most 65507 bytes, none if it is left out. */
  readonly data?: Uint8Array;
  /** 64 if it is left out. */
  readonly ttl?: number;
  /** The identification of the IPv4 header; 0 if it is left out. */
  readonly identification?: number;
}

/**
 * An ICMP echo request (or reply) as a frame of its own.
 *
 * @throws UsageError PACKET_FIELD_INVALID
 */
export function buildIcmpEcho(fields: EchoFrameFields): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(ICMP_ECHO_OVERHEAD + (fields.data?.length ?? 0));
  writeEchoFrame(frame, 0, fields);
  return frame;
}

/**
 * Writes an ICMP echo frame, for example into a packet buffer.
 *
 * @returns the bytes written: {@link ICMP_ECHO_OVERHEAD} and the data
 * @throws UsageError PACKET_NO_ROOM, PACKET_FIELD_INVALID
 */
export function writeEchoFrame(target: Uint8Array, offset: number, fields: EchoFrameFields): number {
  const { type = ICMP_TYPE.ECHO_REQUEST, data = NO_DATA, identifier, sequence } = fields;
  const end = offset + ICMP_ECHO_OVERHEAD + data.length;
  roomFor('An ICMP echo frame', target, offset, end - offset);
  const icmpOffset = offset + ETHERNET_HEADER_LENGTH + IPV4_HEADER_LENGTH;
  writeEthernet(target, offset, {
    destination: fields.destinationMac,
    source: fields.sourceMac,
    etherType: ETHER_TYPE.IPV4,
  });
  writeIpv4(target, offset + ETHERNET_HEADER_LENGTH, {
    source: fields.sourceIp,
    destination: fields.destinationIp,
    protocol: IP_PROTOCOL.ICMP,
    payloadLength: end - icmpOffset,
    ttl: fields.ttl ?? 64,
    identification: fields.identification ?? 0,
  });
  target.set(data, icmpOffset + ICMP_HEADER_LENGTH);
  writeIcmpEcho(target, icmpOffset, { type, identifier, sequence }, end);
  return end - offset;
}

/** The three headers of an ICMP echo frame; the data lies from `echo.payloadOffset` to `echo.payloadEnd`. */
export interface EchoFrame {
  readonly ethernet: EthernetHeader;
  readonly ipv4: Ipv4Header;
  readonly echo: IcmpEcho;
}

/**
 * Reads an ICMP echo frame that lies from `offset` to `end`.
 *
 * @returns undefined if it is something else, a fragment, cut short, or one of its checksums is wrong
 */
export function readEchoFrame(
  frame: Uint8Array,
  offset = 0,
  end: number = frame.length,
): EchoFrame | undefined {
  const ethernet = readEthernet(frame, offset, end);
  if (ethernet?.etherType !== ETHER_TYPE.IPV4) return undefined;
  const ipv4 = readIpv4(frame, ethernet.payloadOffset, end);
  if (ipv4?.protocol !== IP_PROTOCOL.ICMP || !isWhole(ipv4)) return undefined;
  const echo = readIcmpEcho(frame, ipv4.payloadOffset, ipv4.payloadEnd);
  return echo?.checksumValid === true ? { ethernet, ipv4, echo } : undefined;
}

function isWhole(ipv4: Ipv4Header): boolean {
  return ipv4.checksumValid && !ipv4.moreFragments && ipv4.fragmentOffset === 0;
}
