/**
 * Checksums that are completed elsewhere: asking the device to do so, and doing it in software (VIRTIO 1.3, 5.1.6.2, 5.1.6.4).
 */
import { UsageError } from '../errors.js';
import { CHECKSUM, GSO, type PacketBuffer } from '../memory/packet-buffer.js';
import { ETHERNET_HEADER_SIZE } from './header-constants.js';
import {
  ETHER_TYPE_IPV4,
  findTransportHeader,
  IPV6_HEADER_SIZE,
  PROTOCOL_TCP,
  TCP_CHECKSUM,
  typeAt,
  UDP_CHECKSUM,
  type TransportHeader,
} from './transport-header.js';

/** What a device is asked to do with a packet that is sent. */
export interface OffloadRequest {
  /**
   * Payload in bytes of each of the frames into which the packet is to be cut: for TCP the MSS. Left out, it is one
   * frame, and the device completes the checksum only.
   */
  readonly segmentSize?: number;
}

/**
 * Asks the device to complete the TCP or UDP checksum of a packet, and to cut it into several frames if that is wanted.
 *
 * Finds the header in the frame, behind VLAN tags, IPv4 options and IPv6 extensions, puts the sum of the pseudo header in
 * place of the checksum, and sets the fields of the packet: `checksum`, `checksumStart`, `checksumOffset`, `gso`,
 * `gsoSize`. The IP header must be complete, its length that of the whole packet. Whether the device can do so shows
 * when the packet is sent.
 *
 * @returns the packet
 * @throws UsageError OFFLOAD_INVALID if no TCP or UDP header is in the first segment of the packet
 */
export function requestOffload(packet: PacketBuffer, { segmentSize }: OffloadRequest = {}): PacketBuffer {
  const { frame } = packet;
  const transport = findTransportHeader(frame);
  if (transport === undefined) {
    throw new UsageError(
      'OFFLOAD_INVALID',
      `Packet ${packet.index} has no TCP or UDP header in its first segment`,
      {
        remedy:
          'Put all headers of an IPv4 or IPv6 packet, unfragmented and with no route to follow, into the first segment.',
      },
    );
  }
  const isTcp = transport.protocol === PROTOCOL_TCP;
  packet.checksum = CHECKSUM.NEEDED;
  packet.checksumStart = transport.start;
  packet.checksumOffset = isTcp ? TCP_CHECKSUM : UDP_CHECKSUM;
  const sum = fold(pseudoHeaderSum(frame, transport, packet.totalLength));
  put16(frame, transport.start + packet.checksumOffset, sum);
  packet.gso = GSO.NONE;
  packet.gsoSize = 0;
  if (segmentSize === undefined) return packet;
  const tcp = transport.etherType === ETHER_TYPE_IPV4 ? GSO.TCP_V4 : GSO.TCP_V6;
  packet.gso = isTcp ? tcp : GSO.UDP_L4;
  packet.gsoSize = segmentSize;
  return packet;
}

/**
 * Completes the checksum of a packet whose `checksum` is `NEEDED`, over all its segments, and says so in the packet:
 * `VALID`. Others it leaves as they are.
 *
 * A packet that was still to be cut into several (`gso`) becomes one with a right checksum, but stays as large as it is.
 *
 * @returns the packet
 * @throws UsageError OFFLOAD_INVALID if `checksumStart` and `checksumOffset` lie outside of the frame
 */
export function completeChecksum(packet: PacketBuffer): PacketBuffer {
  if (packet.checksum !== CHECKSUM.NEEDED) return packet;
  const { checksumStart, checksumOffset } = packet;
  const at = checksumStart + checksumOffset;
  const inside = checksumStart >= ETHERNET_HEADER_SIZE && checksumOffset >= 0 && at + 2 <= packet.totalLength;
  if (!Number.isInteger(checksumStart) || !Number.isInteger(checksumOffset) || !inside) {
    throw new UsageError(
      'OFFLOAD_INVALID',
      `Packet ${packet.index} has ${packet.totalLength} bytes, and its checksum at ${checksumStart} + ${checksumOffset}`,
    );
  }
  // 0 would stand for no checksum in UDP; its complement means the same (RFC 768).
  const checksum = ~fold(sumFrom(packet, checksumStart)) & 0xffff || 0xffff;
  putByte(packet, at, checksum >> 8);
  putByte(packet, at + 1, checksum & 0xff);
  packet.checksum = CHECKSUM.VALID;
  return packet;
}

/** Addresses, protocol and length, in 16-bit words (RFC 793, RFC 768, RFC 8200). */
function pseudoHeaderSum(frame: Uint8Array, transport: TransportHeader, total: number): number {
  const { networkStart, start, protocol, etherType } = transport;
  const isIpv4 = etherType === ETHER_TYPE_IPV4;
  const addresses = networkStart + (isIpv4 ? 12 : 8);
  // The frame may be padded, so the IP header knows better; but it can not tell more than 65535 bytes.
  const told = isIpv4 ? typeAt(frame, networkStart + 2) : typeAt(frame, networkStart + 4) + IPV6_HEADER_SIZE;
  const end = networkStart + told;
  const length = (told > start - networkStart && end <= total ? end : total) - start;
  return sumOf(frame, addresses, addresses + (isIpv4 ? 8 : 32)) + protocol + length;
}

/** The sum of the 16-bit words from an offset in the frame to its end. */
function sumFrom(packet: PacketBuffer, offset: number): number {
  let sum = 0;
  /** Offset in the frame of the segment. */
  let base = 0;
  for (let segment: PacketBuffer | undefined = packet; segment !== undefined; segment = segment.next) {
    const { bytes, start, length } = segment;
    for (let at = Math.max(0, offset - base); at < length; at += 1) {
      const byte = bytes[start + at];
      sum += ((base + at - offset) & 1) === 0 ? byte << 8 : byte;
    }
    base += length;
  }
  return sum;
}

function sumOf(bytes: Uint8Array, from: number, to: number): number {
  let sum = 0;
  for (let at = from; at < to; at += 2) sum += (bytes[at] << 8) | bytes[at + 1];
  return sum;
}

function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = Math.floor(folded / 0x10000) + (folded % 0x10000);
  return folded;
}

function putByte(packet: PacketBuffer, offset: number, value: number): void {
  let base = 0;
  for (let segment: PacketBuffer | undefined = packet; segment !== undefined; segment = segment.next) {
    if (offset < base + segment.length) {
      segment.bytes[segment.start + offset - base] = value;
      return;
    }
    base += segment.length;
  }
}

function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value & 0xff;
}
