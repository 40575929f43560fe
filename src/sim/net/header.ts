/** struct virtio_net_hdr, which precedes each frame in its buffer (VIRTIO 1.3, 5.1.6). */
import { hasFeature } from '../features.js';

/** Bits of the field `flags`. */
export const HEADER_FLAG = {
  NEEDS_CSUM: 1,
  DATA_VALID: 2,
  RSC_INFO: 4,
  UDP_TUNNEL_CSUM: 8,
  SECURITY: 16,
} as const;

/** Values of the field `gso_type`, without its bits. */
export const GSO_TYPE = { NONE: 0, TCPV4: 1, UDP: 3, TCPV6: 4, UDP_L4: 5 } as const;

/** The bit of `gso_type` that says that the TCP packet has ECN set. */
export const GSO_ECN = 0x80;

const LEGACY_LENGTH = 10;
const USUAL_LENGTH = 12;
const LENGTH_WITH_HASH = 20;

/** Which fields there are. */
export interface HeaderFormat {
  /** In bytes: 10, 12 or 20. */
  readonly length: number;
  /** Whether there is num_buffers, which a legacy device has with VIRTIO_NET_F_MRG_RXBUF only. */
  readonly hasNumBuffers: boolean;
  /** Whether the hash is reported. */
  readonly hasHash: boolean;
}

/** The fields; those that the format leaves out are 0 when read, and not written. */
export interface NetHeader {
  readonly flags: number;
  readonly gsoType: number;
  readonly headerLength: number;
  readonly gsoSize: number;
  readonly checksumStart: number;
  readonly checksumOffset: number;
  readonly numBuffers: number;
  readonly hash: number;
  readonly hashReport: number;
}

/** The header of a plain frame. */
export const PLAIN_HEADER: NetHeader = {
  flags: 0,
  gsoType: GSO_TYPE.NONE,
  headerLength: 0,
  gsoSize: 0,
  checksumStart: 0,
  checksumOffset: 0,
  numBuffers: 0,
  hash: 0,
  hashReport: 0,
};

/** The format that features stand for. */
export function headerFormat(features: bigint, legacy: boolean): HeaderFormat {
  const hasHash = hasFeature(features, 'VIRTIO_NET_F_HASH_REPORT');
  const hasNumBuffers = !legacy || hasFeature(features, 'VIRTIO_NET_F_MRG_RXBUF');
  const plainLength = hasNumBuffers ? USUAL_LENGTH : LEGACY_LENGTH;
  return { length: hasHash ? LENGTH_WITH_HASH : plainLength, hasNumBuffers, hasHash };
}

/** Reads the header at the start of a packet, which must be long enough for it. */
export function readHeader(packet: Uint8Array, format: HeaderFormat): NetHeader {
  const view = new DataView(packet.buffer, packet.byteOffset, format.length);
  return {
    flags: view.getUint8(0),
    gsoType: view.getUint8(1),
    headerLength: view.getUint16(2, true),
    gsoSize: view.getUint16(4, true),
    checksumStart: view.getUint16(6, true),
    checksumOffset: view.getUint16(8, true),
    numBuffers: format.hasNumBuffers ? view.getUint16(10, true) : 0,
    hash: format.hasHash ? view.getUint32(12, true) : 0,
    hashReport: format.hasHash ? view.getUint16(16, true) : 0,
  };
}

/** A frame with its header in front of it. */
export function packetOf(
  frame: Uint8Array,
  header: NetHeader,
  format: HeaderFormat,
): Uint8Array<ArrayBuffer> {
  const packet = new Uint8Array(format.length + frame.length);
  const view = new DataView(packet.buffer);
  view.setUint8(0, header.flags);
  view.setUint8(1, header.gsoType);
  view.setUint16(2, header.headerLength, true);
  view.setUint16(4, header.gsoSize, true);
  view.setUint16(6, header.checksumStart, true);
  view.setUint16(8, header.checksumOffset, true);
  if (format.hasNumBuffers) view.setUint16(10, header.numBuffers, true);
  if (format.hasHash) {
    view.setUint32(12, header.hash, true);
    view.setUint16(16, header.hashReport, true);
  }
  packet.set(frame, format.length);
  return packet;
}
