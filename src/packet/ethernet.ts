/** The Ethernet II header (IEEE 802.3). */
import { MAC_LENGTH } from './address.js';
import { checkedAddress, checkedField, roomFor, viewOf } from './bounds.js';

/** Length of the header in bytes: destination, source, type. */
export const ETHERNET_HEADER_LENGTH = 14;

/** Values of the etherType field. */
export const ETHER_TYPE = {
  IPV4: 0x0800,
  ARP: 0x0806,
  VLAN: 0x8100,
  IPV6: 0x86dd,
} as const;

export interface EthernetFields {
  readonly destination: Uint8Array;
  readonly source: Uint8Array;
  /** What the payload is, see {@link ETHER_TYPE}; below 0x600 it is the payload's length (IEEE 802.3). */
  readonly etherType: number;
}

/** A header that was read; the addresses are views of the bytes it was read from. */
export interface EthernetHeader extends EthernetFields {
  /** Where the payload starts in the array. */
  readonly payloadOffset: number;
  /** Where the payload ends, padding included. */
  readonly payloadEnd: number;
}

/**
 * Writes an Ethernet header.
 *
 * @returns the bytes written: 14
 * @throws UsageError PACKET_NO_ROOM, PACKET_FIELD_INVALID
 */
export function writeEthernet(target: Uint8Array, offset: number, fields: EthernetFields): number {
  const view = roomFor('An Ethernet header', target, offset, ETHERNET_HEADER_LENGTH);
  const etherType = checkedField('etherType', fields.etherType, 0xffff);
  const destination = checkedAddress('destination', fields.destination, MAC_LENGTH, target);
  const source = checkedAddress('source', fields.source, MAC_LENGTH, target);
  target.set(destination, offset);
  target.set(source, offset + MAC_LENGTH);
  view.setUint16(12, etherType);
  return ETHERNET_HEADER_LENGTH;
}

/** Reads the Ethernet header of a frame that lies from `offset` to `end`; undefined if it is cut short. */
export function readEthernet(
  bytes: Uint8Array,
  offset = 0,
  end: number = bytes.length,
): EthernetHeader | undefined {
  const view = viewOf(bytes, offset, end, ETHERNET_HEADER_LENGTH);
  if (view === undefined) return undefined;
  return {
    destination: bytes.subarray(offset, offset + MAC_LENGTH),
    source: bytes.subarray(offset + MAC_LENGTH, offset + 2 * MAC_LENGTH),
    etherType: view.getUint16(12),
    payloadOffset: offset + ETHERNET_HEADER_LENGTH,
    payloadEnd: end,
  };
}
