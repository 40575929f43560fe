/** ARP for IPv4 over Ethernet (RFC 826). */
import { IPV4_LENGTH, MAC_LENGTH } from './address.js';
import { checkedAddress, checkedField, roomFor, viewOf } from './bounds.js';
import { ETHER_TYPE } from './ethernet.js';

/** Length of an ARP packet for IPv4 over Ethernet, in bytes. */
export const ARP_LENGTH = 28;

/** Values of the operation field. */
export const ARP_OPERATION = { REQUEST: 1, REPLY: 2 } as const;

const HARDWARE_ETHERNET = 1;
const SENDER_MAC = 8;
const SENDER_IP = 14;
const TARGET_MAC = 18;
const TARGET_IP = 24;

/** The fields of an ARP packet. Where they were read, the addresses are views of the bytes they were read from. */
export interface ArpFields {
  /** See {@link ARP_OPERATION}. */
  readonly operation: number;
  readonly senderMac: Uint8Array;
  readonly senderIp: Uint8Array;
  /** Zeros in a request: it is what the request asks for. */
  readonly targetMac: Uint8Array;
  readonly targetIp: Uint8Array;
}

/**
 * Writes an ARP packet.
 *
 * @returns the bytes written: 28
 * @throws UsageError PACKET_NO_ROOM, PACKET_FIELD_INVALID
 */
export function writeArp(target: Uint8Array, offset: number, fields: ArpFields): number {
  const view = roomFor('An ARP packet', target, offset, ARP_LENGTH);
  const operation = checkedField('operation', fields.operation, 0xffff);
  const senderMac = checkedAddress('senderMac', fields.senderMac, MAC_LENGTH, target);
  const senderIp = checkedAddress('senderIp', fields.senderIp, IPV4_LENGTH, target);
  const targetMac = checkedAddress('targetMac', fields.targetMac, MAC_LENGTH, target);
  const targetIp = checkedAddress('targetIp', fields.targetIp, IPV4_LENGTH, target);
  view.setUint16(0, HARDWARE_ETHERNET);
  view.setUint16(2, ETHER_TYPE.IPV4);
  view.setUint8(4, MAC_LENGTH);
  view.setUint8(5, IPV4_LENGTH);
  view.setUint16(6, operation);
  target.set(senderMac, offset + SENDER_MAC);
  target.set(senderIp, offset + SENDER_IP);
  target.set(targetMac, offset + TARGET_MAC);
  target.set(targetIp, offset + TARGET_IP);
  return ARP_LENGTH;
}

/** Reads an ARP packet; undefined if it is cut short, or is not about IPv4 over Ethernet. */
export function readArp(bytes: Uint8Array, offset = 0, end: number = bytes.length): ArpFields | undefined {
  const view = viewOf(bytes, offset, end, ARP_LENGTH);
  if (view === undefined || !isIpv4OverEthernet(view)) return undefined;
  return {
    operation: view.getUint16(6),
    senderMac: bytes.subarray(offset + SENDER_MAC, offset + SENDER_IP),
    senderIp: bytes.subarray(offset + SENDER_IP, offset + TARGET_MAC),
    targetMac: bytes.subarray(offset + TARGET_MAC, offset + TARGET_IP),
    targetIp: bytes.subarray(offset + TARGET_IP, offset + ARP_LENGTH),
  };
}

function isIpv4OverEthernet(view: DataView): boolean {
  return (
    view.getUint16(0) === HARDWARE_ETHERNET &&
    view.getUint16(2) === ETHER_TYPE.IPV4 &&
    view.getUint8(4) === MAC_LENGTH &&
    view.getUint8(5) === IPV4_LENGTH
  );
}
