/** Transport checksums: the pseudo header, and completing what a partial checksum leaves open. */
import { internetChecksum } from '../../packet/index.js';
import { PROTOCOL, type IpPacket } from './dissect.js';

/** Where the checksum lies in a TCP or UDP header. */
export function checksumFieldOf(protocol: number | undefined): number | undefined {
  if (protocol === PROTOCOL.TCP) return 16;
  return protocol === PROTOCOL.UDP ? 6 : undefined;
}

/** The sum that a partial checksum starts from: addresses, protocol and length, not inverted. */
export function pseudoHeaderSum(packet: IpPacket, length: number): number {
  const protocol = packet.protocol ?? 0;
  const words = Uint8Array.from([...packet.source, ...packet.destination, 0, protocol]);
  // The length is a 32-bit word in the pseudo header of IPv6, whose upper half is another summand.
  const sum = internetChecksum(words, 0, words.length, (length >>> 16) + (length & 0xffff));
  return ~sum & 0xffff;
}

/**
 * Completes a partial checksum in place: the sum from `start` to the end of the frame, stored `offset` bytes
 * behind `start`. A UDP checksum that comes out as 0 is stored as 0xffff (RFC 768).
 */
export function completeChecksum(
  frame: Uint8Array,
  start: number,
  offset: number,
  end: number = frame.length,
): void {
  const sum = internetChecksum(frame, start, end);
  storeWord(frame, start + offset, sum === 0 && offset === 6 ? 0xffff : sum);
}

/** Calculates the checksum of a TCP or UDP packet anew, whatever stands there. */
export function renewChecksum(frame: Uint8Array, packet: IpPacket): void {
  const offset = checksumFieldOf(packet.protocol);
  if (offset === undefined) return;
  storeWord(frame, packet.payload + offset, pseudoHeaderSum(packet, packet.end - packet.payload));
  completeChecksum(frame, packet.payload, offset, packet.end);
}

/** Whether the checksum of a TCP or UDP packet is right; undefined if it has none. */
export function hasRightChecksum(frame: Uint8Array, packet: IpPacket): boolean | undefined {
  const offset = checksumFieldOf(packet.protocol);
  const length = packet.end - packet.payload;
  if (offset === undefined || packet.fragment || length < offset + 2) return undefined;
  return internetChecksum(frame, packet.payload, packet.end, pseudoHeaderSum(packet, length)) === 0;
}

/** Calculates the checksum of an IPv4 header anew. */
export function renewIpv4Checksum(frame: Uint8Array, packet: IpPacket): void {
  storeWord(frame, packet.start + 10, 0);
  const end = packet.start + 4 * (frame[packet.start] & 0xf);
  storeWord(frame, packet.start + 10, internetChecksum(frame, packet.start, end));
}

/** Stores a 16-bit word in network order. */
export function storeWord(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value & 0xff;
}
