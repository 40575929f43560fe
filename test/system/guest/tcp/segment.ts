/** TCP segments over IPv4 and IPv6: as much of RFC 9293 as a test of offloads needs. */
import { ETHERNET_HEADER_LENGTH, ETHER_TYPE, internetChecksum, IP_PROTOCOL } from 'virtio-net/packet';

export const TCP_FLAG = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16 } as const;
export const TCP_HEADER_LENGTH = 20;
/** Where the checksum lies in the TCP header. */
export const TCP_CHECKSUM_OFFSET = 16;

/** Both ends of a connection as one of them sees them. The addresses are of 4 bytes, or of 16. */
export interface TcpEnds {
  readonly ownMac: Uint8Array;
  readonly peerMac: Uint8Array;
  readonly ownIp: Uint8Array;
  readonly peerIp: Uint8Array;
  readonly ownPort: number;
  readonly peerPort: number;
}

export interface TcpFields {
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly flags: number;
  readonly window: number;
  /** A multiple of 4 bytes. */
  readonly options?: Uint8Array;
}

/** A segment that was read. */
export interface TcpSegment {
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly flags: number;
  readonly window: number;
  readonly options: Uint8Array;
  readonly payload: Uint8Array;
  /** Whether the checksum in the frame is that of the whole segment. */
  readonly checksumValid: () => boolean;
}

const ipHeaderLength = ({ ownIp }: TcpEnds): number => (ownIp.length === 4 ? 20 : 40);

/** Where the TCP header begins in a frame. */
export const tcpOffset = (ends: TcpEnds): number => ETHERNET_HEADER_LENGTH + ipHeaderLength(ends);

/** The sum of the pseudo header's 16-bit words. */
function pseudoHeaderSum(source: Uint8Array, destination: Uint8Array, length: number): number {
  const words = ~internetChecksum(source) & 0xffff;
  return words + (~internetChecksum(destination) & 0xffff) + IP_PROTOCOL.TCP + length;
}

const fold = (sum: number): number => {
  let folded = sum;
  while (folded > 0xffff) folded = (folded >>> 16) + (folded & 0xffff);
  return folded;
};

function writeIp(view: DataView, bytes: Uint8Array, ends: TcpEnds, length: number): void {
  const at = ETHERNET_HEADER_LENGTH;
  if (ends.ownIp.length === 16) {
    view.setUint32(at, 0x60000000);
    view.setUint16(at + 4, length);
    view.setUint16(at + 6, (IP_PROTOCOL.TCP << 8) | 64);
    bytes.set(ends.ownIp, at + 8);
    bytes.set(ends.peerIp, at + 24);
    return;
  }
  view.setUint16(at, 0x4500);
  view.setUint16(at + 2, 20 + length);
  view.setUint32(at + 4, 0x4000);
  view.setUint32(at + 8, (64 << 24) | (IP_PROTOCOL.TCP << 16));
  bytes.set(ends.ownIp, at + 12);
  bytes.set(ends.peerIp, at + 16);
  view.setUint16(at + 10, internetChecksum(bytes, at, at + 20));
}

/**
 * The headers of a segment, from Ethernet to TCP. The checksum field holds the sum of the pseudo header, which is what
 * a device wants to find there that completes the checksum (VIRTIO 1.3, 5.1.6.2).
 */
export function tcpHeaders(ends: TcpEnds, fields: TcpFields, payloadLength: number): Uint8Array {
  const options = fields.options ?? new Uint8Array(0);
  const at = tcpOffset(ends);
  const bytes = new Uint8Array(at + TCP_HEADER_LENGTH + options.length);
  const view = new DataView(bytes.buffer);
  const length = TCP_HEADER_LENGTH + options.length + payloadLength;
  bytes.set(ends.peerMac, 0);
  bytes.set(ends.ownMac, 6);
  view.setUint16(12, ends.ownIp.length === 4 ? ETHER_TYPE.IPV4 : ETHER_TYPE.IPV6);
  writeIp(view, bytes, ends, length);
  view.setUint16(at, ends.ownPort);
  view.setUint16(at + 2, ends.peerPort);
  view.setUint32(at + 4, fields.sequence);
  view.setUint32(at + 8, fields.acknowledgement);
  view.setUint16(at + 12, ((TCP_HEADER_LENGTH + options.length) << 10) | fields.flags);
  view.setUint16(at + 14, fields.window);
  view.setUint16(at + TCP_CHECKSUM_OFFSET, fold(pseudoHeaderSum(ends.ownIp, ends.peerIp, length)));
  bytes.set(options, at + TCP_HEADER_LENGTH);
  return bytes;
}

/** Completes the checksum of a whole frame in place, as a device does. */
export function completeTcp(frame: Uint8Array, ends: TcpEnds): void {
  const at = tcpOffset(ends);
  new DataView(frame.buffer, frame.byteOffset).setUint16(
    at + TCP_CHECKSUM_OFFSET,
    internetChecksum(frame, at, frame.length),
  );
}

/** Reads a segment that the peer sent on this connection; undefined for any other frame. */
export function readTcp(frame: Uint8Array, ends: TcpEnds): TcpSegment | undefined {
  const at = tcpOffset(ends);
  const isV4 = ends.ownIp.length === 4;
  if (frame.length < at + TCP_HEADER_LENGTH) return undefined;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  if (view.getUint16(12) !== (isV4 ? ETHER_TYPE.IPV4 : ETHER_TYPE.IPV6)) return undefined;
  if (frame[isV4 ? 23 : 20] !== IP_PROTOCOL.TCP) return undefined;
  if (view.getUint16(at) !== ends.peerPort || view.getUint16(at + 2) !== ends.ownPort) return undefined;
  const end = isV4 ? 14 + view.getUint16(16) : at + view.getUint16(18);
  const payloadOffset = at + ((frame[at + 12] >> 4) << 2);
  if (end > frame.length || payloadOffset > end) return undefined;
  return {
    sequence: view.getUint32(at + 4),
    acknowledgement: view.getUint32(at + 8),
    flags: frame[at + 13],
    window: view.getUint16(at + 14),
    options: frame.subarray(at + TCP_HEADER_LENGTH, payloadOffset),
    payload: frame.subarray(payloadOffset, end),
    checksumValid: () =>
      internetChecksum(frame, at, end, pseudoHeaderSum(ends.peerIp, ends.ownIp, end - at)) === 0,
  };
}
