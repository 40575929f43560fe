/** What the header of a frame that the driver sends may say (VIRTIO 1.3, 5.1.6.2.1). */
import type { SimulatedFeature } from '../features.js';
import { DriverViolation } from '../violation.js';
import { pseudoHeaderSum } from './checksum.js';
import { word } from './dissect.js';
import { GSO_ECN, GSO_TYPE, HEADER_FLAG, type NetHeader } from './header.js';
import { fitsGso, transportOf, type Transport } from './offload.js';
import type { NetRules } from './rules.js';

/** The longest packet that a header of IPv6 can tell the length of, with Ethernet header and VLAN tag. */
const LONGEST_PACKET = 65_535 + 40 + 14 + 4;
const TCP_CWR = 0x80;

const GSO_FEATURES: ReadonlyMap<number, SimulatedFeature> = new Map([
  [GSO_TYPE.TCPV4, 'VIRTIO_NET_F_HOST_TSO4'],
  [GSO_TYPE.TCPV6, 'VIRTIO_NET_F_HOST_TSO6'],
  [GSO_TYPE.UDP, 'VIRTIO_NET_F_HOST_UFO'],
  [GSO_TYPE.UDP_L4, 'VIRTIO_NET_F_HOST_USO'],
]);

/** What is checked. */
export interface SentFrame {
  /** What messages call it. */
  readonly name: string;
  readonly header: NetHeader;
  readonly frame: Uint8Array;
}

/** @throws DriverViolation */
export function checkSentFrame(sent: SentFrame, rules: NetRules, frameLimit: number): void {
  const { name, header, frame } = sent;
  refuseValue(name, 'num_buffers', header.numBuffers);
  checkFlags(sent, rules);
  const isGso = header.gsoType !== GSO_TYPE.NONE;
  if (isGso) checkGso(sent, rules);
  if ((header.flags & HEADER_FLAG.NEEDS_CSUM) !== 0) checkPartialChecksum(sent);
  const limit = isGso ? LONGEST_PACKET : frameLimit;
  if (frame.length <= limit) return;
  throw new DriverViolation(`the driver sent a frame of ${frame.length} bytes: the limit is ${limit}`);
}

function refuseValue(name: string, field: string, value: number): void {
  if (value === 0) return;
  throw new DriverViolation(`${field} is ${value} in the header of transmit ${name}, but must be 0`);
}

function checkFlags({ name, header }: SentFrame, rules: NetRules): void {
  if (!rules.has('VIRTIO_NET_F_CSUM')) refuseValue(name, 'flags', header.flags);
  for (const [flag, bit] of Object.entries(HEADER_FLAG)) {
    if (flag === 'NEEDS_CSUM' || (header.flags & bit) === 0) continue;
    throw new DriverViolation(`the header of transmit ${name} has the flag ${flag}, which it must not have`);
  }
}

function checkGso(sent: SentFrame, rules: NetRules): void {
  const { name, header, frame } = sent;
  const type = header.gsoType & ~GSO_ECN;
  const feature = GSO_FEATURES.get(type);
  if (![...GSO_FEATURES.values()].some((one) => rules.has(one)))
    refuseValue(name, 'gso_type', header.gsoType);
  const where = `the header of transmit ${name}`;
  if (feature === undefined) throw new DriverViolation(`${where} has the unknown gso_type ${header.gsoType}`);
  if (!rules.has(feature)) {
    throw new DriverViolation(`${where} has gso_type ${type}, but ${feature} was not negotiated`);
  }
  if ((header.flags & HEADER_FLAG.NEEDS_CSUM) === 0) {
    throw new DriverViolation(`${where} has gso_type ${type} without NEEDS_CSUM`);
  }
  if (header.gsoSize === 0) throw new DriverViolation(`${where} has gso_type ${type} and a gso_size of 0`);
  const transport = transportOf(frame);
  if (transport === undefined || !fitsGso(transport, type)) {
    throw new DriverViolation(`${where} has gso_type ${type}, which its frame is not for`);
  }
  checkEcn(sent, rules, transport);
  checkHeaderLength(sent, rules, transport);
}

/** VIRTIO_NET_HDR_GSO_ECN goes with the flag CWR of TCP, where the device said that it can handle that. */
function checkEcn({ name, header, frame }: SentFrame, rules: NetRules, transport: Transport): void {
  const where = `the header of transmit ${name}`;
  const hasBit = (header.gsoType & GSO_ECN) !== 0;
  const negotiated = rules.has('VIRTIO_NET_F_HOST_ECN');
  if (hasBit && !negotiated) {
    throw new DriverViolation(`${where} has the ECN bit, but VIRTIO_NET_F_HOST_ECN was not negotiated`);
  }
  const isTcp = transport.checksumOffset === 16;
  const congested = isTcp && (frame[transport.packet.payload + 13] & TCP_CWR) !== 0;
  if (hasBit && !isTcp) throw new DriverViolation(`${where} has the ECN bit, but its frame is not TCP`);
  if (congested && negotiated && !hasBit) {
    throw new DriverViolation(`${where} lacks the ECN bit, but its frame has CWR set`);
  }
}

function checkHeaderLength({ name, header }: SentFrame, rules: NetRules, transport: Transport): void {
  if (!rules.has('VIRTIO_NET_F_GUEST_HDRLEN') || header.headerLength === transport.payload) return;
  throw new DriverViolation(
    `hdr_len is ${header.headerLength} in the header of transmit ${name}, but its headers have ${transport.payload} bytes`,
  );
}

/** It must be stored within the frame, and where there is a TCP or UDP header hold the sum of the pseudo header. */
function checkPartialChecksum({ name, header, frame }: SentFrame): void {
  const { checksumStart: start, checksumOffset: offset } = header;
  if (start + offset + 2 > frame.length) {
    const where = `csum_start ${start} and csum_offset ${offset} of transmit ${name}`;
    throw new DriverViolation(`${where} lie outside its frame of ${frame.length} bytes`);
  }
  const transport = transportOf(frame);
  if (transport?.packet.payload !== start) return;
  if (transport.checksumOffset !== offset) {
    throw new DriverViolation(
      `csum_offset of transmit ${name} is ${offset}, but the checksum is at ${transport.checksumOffset}`,
    );
  }
  const { packet } = transport;
  const expected = pseudoHeaderSum(packet, packet.end - packet.payload);
  const found = word(frame, start + offset);
  if (found % 0xffff === expected % 0xffff) return;
  throw new DriverViolation(
    `the checksum of transmit ${name} is 0x${found.toString(16)}, but the sum of its pseudo header is 0x${expected.toString(16)}`,
  );
}
