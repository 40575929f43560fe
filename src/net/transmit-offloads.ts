/**
 * What the device is asked to do with a frame that is sent: complete its checksum, cut it into several (VIRTIO 1.3, 5.1.6.2).
 */
import { UsageError } from '../errors.js';
import { CHECKSUM, GSO, type PacketBuffer } from '../memory/packet-buffer.js';
import { describe } from './arguments.js';
import type { FeatureName } from './feature-table.js';
import type { NegotiatedFeatures } from './features.js';
import { ETHERNET_HEADER_SIZE, GSO_ECN, VLAN_TAG_SIZE } from './header-constants.js';
import { HEADER, HEADER_FLAG } from './header.js';
import {
  ETHER_TYPE_IPV4,
  ETHER_TYPE_IPV6,
  etherTypeAt,
  TCP_CHECKSUM,
  typeAt,
  UDP_CHECKSUM,
} from './transport-header.js';

/** How each kind of segmentation is called, and whether it is for TCP. */
const KINDS: Readonly<Record<number, { feature: FeatureName; tcp: boolean }>> = {
  [GSO.TCP_V4]: { feature: 'VIRTIO_NET_F_HOST_TSO4', tcp: true },
  [GSO.TCP_V6]: { feature: 'VIRTIO_NET_F_HOST_TSO6', tcp: true },
  [GSO.UDP]: { feature: 'VIRTIO_NET_F_HOST_UFO', tcp: false },
  [GSO.UDP_L4]: { feature: 'VIRTIO_NET_F_HOST_USO', tcp: false },
};

const LARGEST_16_BIT = 0xffff;
/** The longest IP packets: the length field of IPv6 does not count the header. */
const LONGEST_IPV4 = 0xffff;
const LONGEST_IPV6 = 0xffff + 40;
/** Room for the longest TCP header. */
const LONGEST_TCP_HEADER = 60;
const UDP_HEADER_SIZE = 8;
/** Offsets in a TCP header of its length (upper half of the byte) and its flags, and the CWR flag. */
const TCP_LENGTH = 12;
const TCP_FLAGS = 13;
const TCP_CWR = 0x80;

export class TransmitOffloads {
  private readonly features: Pick<NegotiatedFeatures, 'has'>;
  private readonly size: number;
  /** Longest frame in bytes on the wire, without a VLAN tag. */
  private readonly longest: number;

  /**
   * @param size - length in bytes of the virtio_net_hdr
   * @param longest - length in bytes of the longest frame on the wire, without a VLAN tag
   */
  constructor(features: Pick<NegotiatedFeatures, 'has'>, size: number, longest: number) {
    this.features = features;
    this.size = size;
    this.longest = longest;
  }

  /** Why the device can not be asked for what the packet asks for; `total` is the length of the whole frame. */
  refusalOf(packet: PacketBuffer, total: number): UsageError | undefined {
    if (packet.checksum !== CHECKSUM.NEEDED) {
      if (packet.gso === GSO.NONE) return undefined;
      return invalid(packet, 'is to be cut into frames, but its checksum is not NEEDED');
    }
    return (
      this.refusalOfChecksum(packet, total) ??
      (packet.gso === GSO.NONE ? undefined : this.refusalOfSegmentation(packet, total))
    );
  }

  /** Writes the header in front of the packet, which was found to be right. */
  write(packet: PacketBuffer, total: number): void {
    const { bytes, start } = packet;
    // All zero asks nothing of the device (5.1.6.2.1: num_buffers too).
    bytes.fill(0, start - this.size, start);
    if (packet.checksum !== CHECKSUM.NEEDED) return;
    const at = start - this.size;
    bytes[at + HEADER.FLAGS] = HEADER_FLAG.NEEDS_CHECKSUM;
    write16(bytes, at + HEADER.CHECKSUM_START, packet.checksumStart);
    write16(bytes, at + HEADER.CHECKSUM_OFFSET, packet.checksumOffset);
    if (packet.gso === GSO.NONE) {
      // Without segmentation it must only be no less than the headers are (5.1.6.2.1).
      const most = packet.checksumStart + LONGEST_TCP_HEADER;
      write16(bytes, at + HEADER.HEADER_LENGTH, Math.min(most, total, LARGEST_16_BIT));
      return;
    }
    bytes[at + HEADER.GSO_TYPE] = packet.gso | (hasCongestionFlag(packet) ? GSO_ECN : 0);
    write16(bytes, at + HEADER.HEADER_LENGTH, headerLength(packet));
    write16(bytes, at + HEADER.GSO_SIZE, packet.gsoSize);
  }

  private refusalOfChecksum(packet: PacketBuffer, total: number): UsageError | undefined {
    const { checksumStart, checksumOffset } = packet;
    if (!this.features.has('VIRTIO_NET_F_CSUM')) {
      return notNegotiated(packet, 'VIRTIO_NET_F_CSUM', 'Call completeChecksum(packet) before it is sent.');
    }
    const inside =
      isWhole(checksumStart, ETHERNET_HEADER_SIZE, LARGEST_16_BIT) &&
      isWhole(checksumOffset, 0, LARGEST_16_BIT) &&
      checksumStart + checksumOffset + 2 <= total;
    if (inside) return undefined;
    return invalid(
      packet,
      `has ${total} bytes, and its checksum at ${describe(checksumStart)} + ${describe(checksumOffset)}, over what follows ${describe(checksumStart)}`,
    );
  }

  private refusalOfSegmentation(packet: PacketBuffer, total: number): UsageError | undefined {
    // Whatever a program without types may have put there.
    if (!Number.isInteger(packet.gso) || !Object.hasOwn(KINDS, packet.gso)) {
      return invalid(packet, `has gso ${describe(packet.gso)}`);
    }
    const kind = KINDS[packet.gso];
    if (!this.features.has(kind.feature)) {
      return notNegotiated(
        packet,
        kind.feature,
        'Send it as several frames, each no longer than the MTU allows.',
      );
    }
    return (
      refusalOfHeaders(packet, kind.tcp) ??
      this.refusalOfSizes(packet, total) ??
      (kind.tcp && hasCongestionFlag(packet) && !this.features.has('VIRTIO_NET_F_HOST_ECN')
        ? notNegotiated(
            packet,
            'VIRTIO_NET_F_HOST_ECN',
            'Send the segment with the CWR flag as a frame of its own.',
          )
        : undefined)
    );
  }

  private refusalOfSizes(packet: PacketBuffer, total: number): UsageError | undefined {
    const { gso, gsoSize, start } = packet;
    const type = etherTypeAt(packet.bytes, start, start + packet.length) - start;
    const most =
      type + 2 + (typeAt(packet.bytes, start + type) === ETHER_TYPE_IPV4 ? LONGEST_IPV4 : LONGEST_IPV6);
    if (total > most) {
      return new UsageError('FRAME_TOO_LONG', `A frame of ${total} bytes can not be cut into several`, {
        remedy: `It has at most ${most} bytes: IP packets can not be longer.`,
      });
    }
    // What precedes the payload in each frame. IP fragments repeat no UDP header.
    const headers = gso === GSO.UDP ? packet.checksumStart : headerLength(packet);
    const tag = type + 2 > ETHERNET_HEADER_SIZE ? VLAN_TAG_SIZE : 0;
    const room = this.longest + tag - headers;
    if (isWhole(gsoSize, 1, room)) return undefined;
    return invalid(
      packet,
      `has gsoSize ${describe(gsoSize)}, and there is room for 1 to ${room} bytes behind its headers`,
    );
  }
}

/** Why the headers of a packet do not allow what it asks for. */
function refusalOfHeaders(packet: PacketBuffer, tcp: boolean): UsageError | undefined {
  const { bytes, start, length, checksumStart } = packet;
  if (packet.checksumOffset !== (tcp ? TCP_CHECKSUM : UDP_CHECKSUM)) {
    return invalid(packet, `has checksumOffset ${packet.checksumOffset}, which is that of another protocol`);
  }
  const least = checksumStart + (tcp ? TCP_LENGTH + 8 : UDP_HEADER_SIZE);
  if (least > length || headerLength(packet) > length) {
    return invalid(packet, `has ${length} bytes in its first segment, which must hold all headers`);
  }
  const type = typeAt(bytes, etherTypeAt(bytes, start, start + length));
  const isIpv4 = type === ETHER_TYPE_IPV4 && packet.gso !== GSO.TCP_V6;
  const isIpv6 = type === ETHER_TYPE_IPV6 && packet.gso !== GSO.TCP_V4;
  if (isIpv4 || isIpv6) return undefined;
  return invalid(packet, `has gso ${packet.gso}, but EtherType 0x${type.toString(16)}`);
}

/** Length in bytes of all headers; exact, as VIRTIO_NET_F_GUEST_HDRLEN asks for. */
function headerLength({ bytes, start, checksumStart, checksumOffset }: PacketBuffer): number {
  if (checksumOffset !== TCP_CHECKSUM) return checksumStart + UDP_HEADER_SIZE;
  return checksumStart + (bytes[start + checksumStart + TCP_LENGTH] >> 4) * 4;
}

/** Whether TCP says that the congestion window was reduced, which belongs into the first segment only. */
function hasCongestionFlag({ bytes, start, checksumStart, checksumOffset }: PacketBuffer): boolean {
  return checksumOffset === TCP_CHECKSUM && (bytes[start + checksumStart + TCP_FLAGS] & TCP_CWR) !== 0;
}

function write16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >> 8;
}

function isWhole(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}

function invalid(packet: PacketBuffer, what: string): UsageError {
  return new UsageError('OFFLOAD_INVALID', `Packet ${packet.index} ${what}`);
}

function notNegotiated(packet: PacketBuffer, feature: FeatureName, remedy: string): UsageError {
  const what = `Packet ${packet.index} asks for what ${feature} stands for, which was not negotiated`;
  return new UsageError('OFFLOAD_NOT_NEGOTIATED', what, { remedy });
}
