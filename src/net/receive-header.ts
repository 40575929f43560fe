/**
 * What the device says of a received frame in its virtio_net_hdr (VIRTIO 1.3, 5.1.6.4).
 *
 * Which reader a queue has follows from what was negotiated: what was not, is not looked at. The device is not trusted:
 * what contradicts the frame or the negotiation makes the frame one that is dropped.
 */
import { CHECKSUM, GSO, type Gso, type PacketBuffer } from '../memory/packet-buffer.js';
import type { NegotiatedFeatures } from './features.js';
import { ETHERNET_HEADER_SIZE, GSO_ECN } from './header-constants.js';
import { HEADER, HEADER_FLAG, headerSize } from './header.js';
import { findTransportHeader, PROTOCOL_TCP, TCP_CHECKSUM, UDP_CHECKSUM } from './transport-header.js';

type Features = Pick<NegotiatedFeatures, 'has'>;

/** Features with which a device may hand over frames larger than the MTU, and the type of such frames. */
const LARGE_RECEIVE = [
  ['VIRTIO_NET_F_GUEST_TSO4', GSO.TCP_V4],
  ['VIRTIO_NET_F_GUEST_TSO6', GSO.TCP_V6],
  ['VIRTIO_NET_F_GUEST_UFO', GSO.UDP],
  ['VIRTIO_NET_F_GUEST_USO4', GSO.UDP_L4],
  ['VIRTIO_NET_F_GUEST_USO6', GSO.UDP_L4],
] as const;

/** Whether the device may hand over frames larger than the MTU. */
export function receivesLargeFrames(features: Features): boolean {
  return LARGE_RECEIVE.some(([name]) => features.has(name));
}

export interface HeaderReader {
  /** Reads the header in front of a frame into the packet; false if the frame is to be dropped for it. */
  read(packet: PacketBuffer): boolean;
}

/** The reader for what was negotiated; undefined if nothing in the header means anything. */
export function createHeaderReader(features: Features, legacy: boolean): HeaderReader | undefined {
  const size = headerSize(features, legacy);
  const offloads = features.has('VIRTIO_NET_F_GUEST_CSUM') ? new OffloadReader(features, size) : undefined;
  if (!features.has('VIRTIO_NET_F_HASH_REPORT')) return offloads;
  return offloads === undefined
    ? new HashReader(size)
    : new OffloadAndHashReader(offloads, new HashReader(size));
}

class OffloadReader implements HeaderReader {
  private readonly size: number;
  /** The GSO types that were negotiated, a bit for each. */
  private readonly gsoTypes: number;
  /** Bits that `gso_type` may have beside the type, and the flag that says that segments were coalesced. */
  private readonly ecn: number;
  private readonly coalesced: number;

  constructor(features: Features, size: number) {
    this.size = size;
    this.gsoTypes = LARGE_RECEIVE.reduce(
      (bits, [name, type]) => bits | (features.has(name) ? 1 << type : 0),
      0,
    );
    this.ecn = features.has('VIRTIO_NET_F_GUEST_ECN') ? GSO_ECN : 0;
    this.coalesced = features.has('VIRTIO_NET_F_RSC_EXT') ? HEADER_FLAG.RSC_INFO : 0;
  }

  read(packet: PacketBuffer): boolean {
    const { bytes } = packet;
    const at = packet.start - this.size;
    const flags = bytes[at];
    const gsoType = bytes[at + HEADER.GSO_TYPE];
    packet.coalescedSegments = 0;
    packet.duplicateAcks = 0;
    if ((flags & this.coalesced) !== 0) {
      packet.coalescedSegments = read16(bytes, at + HEADER.CHECKSUM_START);
      packet.duplicateAcks = read16(bytes, at + HEADER.CHECKSUM_OFFSET);
    }
    if (gsoType !== GSO.NONE && !this.readGso(packet, gsoType, at)) return false;
    if ((flags & HEADER_FLAG.NEEDS_CHECKSUM) !== 0) return readPartial(packet, flags, at);
    packet.checksum = (flags & HEADER_FLAG.DATA_VALID) === 0 ? CHECKSUM.NONE : CHECKSUM.VALID;
    return true;
  }

  private readGso(packet: PacketBuffer, gsoType: number, at: number): boolean {
    const { bytes } = packet;
    const type = gsoType & ~this.ecn;
    const gsoSize = read16(bytes, at + HEADER.GSO_SIZE);
    if (type > GSO.UDP_L4 || ((this.gsoTypes >> type) & 1) === 0 || gsoSize === 0) return false;
    packet.gso = type as Gso;
    packet.gsoSize = gsoSize;
    packet.ecn = gsoType !== type;
    packet.headerLength = Math.min(read16(bytes, at + HEADER.HEADER_LENGTH), packet.totalLength);
    return true;
  }
}

class HashReader implements HeaderReader {
  private readonly size: number;

  constructor(size: number) {
    this.size = size;
  }

  read(packet: PacketBuffer): boolean {
    const { bytes } = packet;
    const at = packet.start - this.size;
    packet.hash = (read16(bytes, at + HEADER.HASH) | (read16(bytes, at + HEADER.HASH + 2) << 16)) >>> 0;
    packet.hashType = read16(bytes, at + HEADER.HASH_REPORT);
    return true;
  }
}

class OffloadAndHashReader implements HeaderReader {
  private readonly offloads: OffloadReader;
  private readonly hash: HashReader;

  constructor(offloads: OffloadReader, hash: HashReader) {
    this.offloads = offloads;
    this.hash = hash;
  }

  read(packet: PacketBuffer): boolean {
    return this.hash.read(packet) && this.offloads.read(packet);
  }
}

/** Reads where the checksum is to be completed: from the header, unless the device put counts there (5.1.6.4.2). */
function readPartial(packet: PacketBuffer, flags: number, at: number): boolean {
  if ((flags & HEADER_FLAG.RSC_INFO) !== 0) {
    if (!findChecksum(packet)) return false;
  } else {
    packet.checksumStart = read16(packet.bytes, at + HEADER.CHECKSUM_START);
    packet.checksumOffset = read16(packet.bytes, at + HEADER.CHECKSUM_OFFSET);
  }
  packet.checksum = CHECKSUM.NEEDED;
  const { checksumStart, checksumOffset } = packet;
  return checksumStart >= ETHERNET_HEADER_SIZE && checksumStart + checksumOffset + 2 <= packet.totalLength;
}

/** Takes the place of the checksum from the frame itself. */
function findChecksum(packet: PacketBuffer): boolean {
  const transport = findTransportHeader(packet.frame);
  if (transport === undefined) return false;
  packet.checksumStart = transport.start;
  packet.checksumOffset = transport.protocol === PROTOCOL_TCP ? TCP_CHECKSUM : UDP_CHECKSUM;
  return true;
}

function read16(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8);
}
