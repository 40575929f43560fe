/** Cutting a large packet into the frames that a wire carries: TSO, USO, and IP fragments for UFO. */
import { completeChecksum, renewChecksum, renewIpv4Checksum, storeWord } from './checksum.js';
import { word, type IpPacket } from './dissect.js';
import { GSO_TYPE } from './header.js';
import { CHECKSUM_STATE, fitsGso, transportOf, type FrameOffload, type Transport } from './offload.js';

const TCP_FIN = 0x01;
const TCP_PSH = 0x08;
const TCP_CWR = 0x80;
const MORE_FRAGMENTS = 0x2000;
const FRAGMENT_PROTOCOL = 44;
const FRAGMENT_HEADER = 8;
const IPV6_HEADER = 40;

/**
 * The frames that the wire carries for a frame with its offload fields, each a copy with complete checksums.
 *
 * @returns undefined if the frame is not what its offload fields say
 */
export function wireFramesOf(frame: Uint8Array, offload: FrameOffload): Uint8Array[] | undefined {
  if (offload.gso === GSO_TYPE.NONE) return [withChecksum(frame, offload)];
  const transport = transportOf(frame);
  if (transport === undefined || !fitsGso(transport, offload.gso) || offload.gsoSize === 0) return undefined;
  if (offload.gso === GSO_TYPE.UDP) return fragments(frame, transport.packet, offload.gsoSize);
  return segments(frame, transport, offload.gsoSize);
}

/** A copy of a frame, whole as it is, with its checksum complete. */
export function withChecksum(frame: Uint8Array, offload: FrameOffload): Uint8Array {
  const copy = frame.slice();
  if (offload.checksum === CHECKSUM_STATE.NEEDED)
    completeChecksum(copy, offload.checksumStart, offload.checksumOffset);
  return copy;
}

function segments(frame: Uint8Array, transport: Transport, size: number): Uint8Array[] {
  const { packet, payload } = transport;
  const pieces: Uint8Array[] = [];
  // A packet without payload is one segment all the same.
  for (let at = payload; at < packet.end || pieces.length === 0; at += size) {
    const end = Math.min(at + size, packet.end);
    const segment = new Uint8Array(payload + end - at);
    segment.set(frame.subarray(0, payload));
    segment.set(frame.subarray(at, end), payload);
    const place = { index: pieces.length, offset: at - payload, isLast: end === packet.end };
    renewHeaders(segment, transport, place);
    pieces.push(segment);
  }
  return pieces;
}

/** Which segment it is, and where its payload starts in that of the large packet. */
interface Place {
  readonly index: number;
  readonly offset: number;
  readonly isLast: boolean;
}

function renewHeaders(segment: Uint8Array, { packet, checksumOffset }: Transport, place: Place): void {
  const own = { ...packet, end: segment.length };
  if (checksumOffset === 16) renewTcp(segment, packet.payload, place);
  else storeWord(segment, packet.payload + 4, segment.length - packet.payload);
  renewIp(segment, own, place.index);
  renewChecksum(segment, own);
}

function renewTcp(segment: Uint8Array, tcp: number, { index, offset, isLast }: Place): void {
  const view = new DataView(segment.buffer, tcp);
  view.setUint32(4, (view.getUint32(4) + offset) >>> 0);
  if (!isLast) segment[tcp + 13] &= ~(TCP_FIN | TCP_PSH);
  if (index > 0) segment[tcp + 13] &= ~TCP_CWR;
}

/** Sets the length, and on IPv4 the identification and the checksum too. */
function renewIp(segment: Uint8Array, packet: IpPacket, index: number): void {
  const { start, version, end } = packet;
  if (version === 6) {
    storeWord(segment, start + 4, end - start - IPV6_HEADER);
    return;
  }
  storeWord(segment, start + 2, end - start);
  storeWord(segment, start + 4, (word(segment, start + 4) + index) & 0xffff);
  renewIpv4Checksum(segment, packet);
}

/** The checksum of UDP is over the whole datagram: only the first fragment has it. */
function fragments(frame: Uint8Array, packet: IpPacket, size: number): Uint8Array[] {
  const whole = frame.slice(0, packet.end);
  renewChecksum(whole, packet);
  // All fragments but the last carry a multiple of 8 bytes.
  const step = Math.max(8, size - (size % 8));
  const pieces: Uint8Array[] = [];
  for (let at = packet.payload; at < packet.end; at += step) {
    const end = Math.min(at + step, packet.end);
    const field = ((at - packet.payload) >> 3) | 0;
    const piece = { data: whole.subarray(at, end), field, isLast: end === packet.end };
    pieces.push(packet.version === 4 ? fragmentV4(whole, packet, piece) : fragmentV6(whole, packet, piece));
  }
  return pieces;
}

interface Piece {
  readonly data: Uint8Array;
  /** Where it starts in the datagram, in units of 8 bytes. */
  readonly field: number;
  readonly isLast: boolean;
}

function fragmentV4(whole: Uint8Array, packet: IpPacket, { data, field, isLast }: Piece): Uint8Array {
  const fragment = new Uint8Array(packet.payload + data.length);
  fragment.set(whole.subarray(0, packet.payload));
  fragment.set(data, packet.payload);
  storeWord(fragment, packet.start + 6, field | (isLast ? 0 : MORE_FRAGMENTS));
  renewIp(fragment, { ...packet, end: fragment.length }, 0);
  return fragment;
}

/** The fragment header goes behind all other headers; the identification is the flow's first port and length. */
function fragmentV6(whole: Uint8Array, packet: IpPacket, { data, field, isLast }: Piece): Uint8Array {
  const at = packet.payload;
  const fragment = new Uint8Array(at + FRAGMENT_HEADER + data.length);
  fragment.set(whole.subarray(0, at));
  fragment.set(data, at + FRAGMENT_HEADER);
  const nextAt = packet.extended ? lastNextHeader(whole, packet) : packet.start + 6;
  fragment[at] = fragment[nextAt];
  fragment[nextAt] = FRAGMENT_PROTOCOL;
  storeWord(fragment, at + 2, (field << 3) | (isLast ? 0 : 1));
  storeWord(fragment, at + 4, word(whole, at));
  storeWord(fragment, at + 6, word(whole, at + 6));
  renewIp(fragment, { ...packet, end: fragment.length }, 0);
  return fragment;
}

/** Where the last extension header names what follows it. */
function lastNextHeader(bytes: Uint8Array, packet: IpPacket): number {
  let at = packet.start + IPV6_HEADER;
  for (;;) {
    const next = at + 8 * (bytes[at + 1] + 1);
    if (next >= packet.payload) return at;
    at = next;
  }
}
