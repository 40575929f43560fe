/** MAC addresses as the control queue takes them (VIRTIO 1.3, 5.1.6.5.2). */
import { UsageError } from '../../errors.js';
import { requireBytes, requireFields, requireList } from '../arguments.js';
import { formatMac, MAC_LENGTH, parseMac } from '../../packet/address.js';

/** A MAC address: text such as `52:54:00:12:34:56`, or its six bytes. */
export type MacAddress = string | Uint8Array;

/** Destination addresses that the card accepts besides its own. */
export interface MacTable {
  readonly unicast?: readonly MacAddress[];
  readonly multicast?: readonly MacAddress[];
}

/** The least significant bit of the first byte tells multicast addresses from the others. */
const MULTICAST_BIT = 1;
const COUNT_LENGTH = 4;

/** @throws UsageError ADDRESS_MALFORMED */
export function toMac(address: MacAddress): Uint8Array {
  if (typeof address !== 'string') requireBytes('A MAC address', address, 'ADDRESS_MALFORMED');
  const bytes = typeof address === 'string' ? parseMac(address) : Uint8Array.from(address);
  if (bytes.length === MAC_LENGTH) return bytes;
  throw new UsageError('ADDRESS_MALFORMED', `A MAC address has ${MAC_LENGTH} bytes, not ${bytes.length}`);
}

/**
 * The address of a card: neither multicast nor all zero.
 *
 * @throws UsageError ADDRESS_MALFORMED
 */
export function toCardMac(address: MacAddress): Uint8Array {
  const mac = toMac(address);
  if (!isMulticast(mac) && mac.some((byte) => byte !== 0)) return mac;
  throw new UsageError('ADDRESS_MALFORMED', `${formatMac(mac)} can not be the address of a card`, {
    remedy: 'Give a unicast address: the first byte is even, and not all bytes are 0.',
  });
}

/**
 * The data of VIRTIO_NET_CTRL_MAC_TABLE_SET: two of struct virtio_net_ctrl_mac, unicast addresses first.
 *
 * @throws UsageError ADDRESS_MALFORMED, OPTION_INVALID
 */
export function encodeMacTable(table: MacTable): [Uint8Array, Uint8Array] {
  requireFields('The table of MAC addresses', table, ['unicast', 'multicast'] satisfies (keyof MacTable)[]);
  const { unicast = [], multicast = [] } = table;
  requireList('unicast', unicast);
  requireList('multicast', multicast);
  return [encodeList(unicast, false), encodeList(multicast, true)];
}

function encodeList(addresses: readonly MacAddress[], multicast: boolean): Uint8Array {
  const macs = addresses.map(toMac);
  const alien = macs.find((mac) => isMulticast(mac) !== multicast);
  if (alien !== undefined) {
    const kind = multicast ? 'a multicast' : 'a unicast';
    throw new UsageError('ADDRESS_MALFORMED', `${formatMac(alien)} is not ${kind} address`, {
      remedy: 'The first byte of a multicast address is odd, that of a unicast address is even.',
    });
  }
  const bytes = new Uint8Array(COUNT_LENGTH + macs.length * MAC_LENGTH);
  new DataView(bytes.buffer).setUint32(0, macs.length, true);
  macs.forEach((mac, index) => bytes.set(mac, COUNT_LENGTH + index * MAC_LENGTH));
  return bytes;
}

function isMulticast(mac: Uint8Array): boolean {
  return (mac[0] & MULTICAST_BIT) !== 0;
}
