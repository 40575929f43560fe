/** What a sender left to be done with a frame, and what of that was done: the offload fields of a frame. */
import { checksumFieldOf } from './checksum.js';
import { ipPacketOf, type IpPacket } from './dissect.js';
import { GSO_ECN, GSO_TYPE, HEADER_FLAG, type NetHeader } from './header.js';

/** Values of {@link FrameOffload.checksum}, the same as those of a packet's `checksum`. */
export const CHECKSUM_STATE = { NONE: 0, NEEDED: 1, VALID: 2 } as const;

/** What goes along with a frame that is not simply what the wire carries. */
export interface FrameOffload {
  /** 0: nothing; 1: the transport checksum is partial and needs to be completed; 2: it was found right. */
  readonly checksum: number;
  /** Where a partial checksum starts, in bytes from the start of the frame. */
  readonly checksumStart: number;
  /** Where it is stored, in bytes from `checksumStart`. */
  readonly checksumOffset: number;
  /** The kind of segmentation, as in `gso_type`: 0 none, 1 TCP over IPv4, 3 UDP fragments, 4 TCP over IPv6, 5 UDP. */
  readonly gso: number;
  /** Bytes of payload in each segment. */
  readonly gsoSize: number;
  /** Whether the TCP packet has ECN set (CWR). */
  readonly ecn: boolean;
  /** Length of the headers that each segment gets, in bytes. */
  readonly headerLength: number;
}

export const NO_OFFLOAD: FrameOffload = {
  checksum: CHECKSUM_STATE.NONE,
  checksumStart: 0,
  checksumOffset: 0,
  gso: GSO_TYPE.NONE,
  gsoSize: 0,
  ecn: false,
  headerLength: 0,
};

/** The offload fields in a header that the driver wrote. */
export function offloadIn(header: NetHeader): FrameOffload {
  const needed = (header.flags & HEADER_FLAG.NEEDS_CSUM) !== 0;
  const gso = header.gsoType & ~GSO_ECN;
  return {
    checksum: needed ? CHECKSUM_STATE.NEEDED : CHECKSUM_STATE.NONE,
    checksumStart: needed ? header.checksumStart : 0,
    checksumOffset: needed ? header.checksumOffset : 0,
    gso,
    gsoSize: gso === GSO_TYPE.NONE ? 0 : header.gsoSize,
    ecn: (header.gsoType & GSO_ECN) !== 0,
    headerLength: header.headerLength,
  };
}

/** The IP packet in a frame and its transport header, where it is TCP or UDP and whole. */
export interface Transport {
  readonly packet: IpPacket;
  /** Where its checksum lies, from its start. */
  readonly checksumOffset: number;
  /** Where its payload starts, from the start of the frame. */
  readonly payload: number;
}

/** Finds the transport header of a frame; undefined where there is none, or it is cut short. */
export function transportOf(frame: Uint8Array): Transport | undefined {
  const packet = ipPacketOf(frame);
  const checksumOffset = checksumFieldOf(packet?.protocol);
  if (packet === undefined || checksumOffset === undefined || packet.fragment) return undefined;
  const isTcp = checksumOffset === 16;
  if (packet.payload + (isTcp ? 20 : 8) > packet.end) return undefined;
  const length = isTcp ? 4 * (frame[packet.payload + 12] >> 4) : 8;
  const payload = packet.payload + length;
  return length < 8 || payload > packet.end ? undefined : { packet, checksumOffset, payload };
}

/** Whether a transport header is of the kind that a segmentation is for. */
export function fitsGso({ packet, checksumOffset }: Transport, gso: number): boolean {
  const isTcp = checksumOffset === 16;
  if (gso === GSO_TYPE.TCPV4) return isTcp && packet.version === 4;
  if (gso === GSO_TYPE.TCPV6) return isTcp && packet.version === 6;
  return !isTcp && (gso === GSO_TYPE.UDP || gso === GSO_TYPE.UDP_L4);
}
