/** Which frames from the wire the driver gets (VIRTIO 1.3, 5.1.6.5.1 to 5.1.6.5.3). */
import { isBroadcastMac, sameAddress } from '../../packet/index.js';
import { vlanOf } from './dissect.js';
import type { NetRules } from './rules.js';

/** The receive modes that the driver turns on and off. */
export const RECEIVE_MODES = [
  'promiscuous',
  'allMulticast',
  'allUnicast',
  'noMulticast',
  'noUnicast',
  'noBroadcast',
] as const;

export type ReceiveMode = (typeof RECEIVE_MODES)[number];

export class ReceiveFilter {
  readonly #rules: NetRules;
  readonly #ownMac: () => Uint8Array;
  readonly #modes = new Set<ReceiveMode>();
  readonly #vlans = new Set<number>();
  #table: readonly Uint8Array[] = [];

  /** @param ownMac - gives the address of the device now */
  constructor(rules: NetRules, ownMac: () => Uint8Array, promiscuous: boolean) {
    this.#rules = rules;
    this.#ownMac = ownMac;
    this.setMode('promiscuous', promiscuous);
  }

  setMode(mode: ReceiveMode, on: boolean): void {
    if (on) this.#modes.add(mode);
    else this.#modes.delete(mode);
  }

  setTable(addresses: readonly Uint8Array[]): void {
    this.#table = addresses;
  }

  addVlan(id: number): void {
    this.#vlans.add(id);
  }

  removeVlan(id: number): void {
    this.#vlans.delete(id);
  }

  accepts(frame: Uint8Array): boolean {
    const filtersMacs = this.#rules.has('VIRTIO_NET_F_CTRL_RX');
    if (filtersMacs && this.#modes.has('promiscuous')) return true;
    return this.#acceptsVlan(frame) && (!filtersMacs || this.#acceptsMac(frame.subarray(0, 6)));
  }

  #acceptsVlan(frame: Uint8Array): boolean {
    if (!this.#rules.has('VIRTIO_NET_F_CTRL_VLAN')) return true;
    const vlan = vlanOf(frame);
    return vlan === undefined || this.#vlans.has(vlan);
  }

  #acceptsMac(destination: Uint8Array): boolean {
    if (isBroadcastMac(destination)) return !this.#modes.has('noBroadcast');
    const listed = this.#table.some((address) => sameAddress(address, destination));
    if (isMulticast(destination))
      return !this.#modes.has('noMulticast') && (listed || this.#modes.has('allMulticast'));
    if (this.#modes.has('noUnicast')) return false;
    return listed || this.#modes.has('allUnicast') || sameAddress(destination, this.#ownMac());
  }
}

/** Whether an address is that of a group, the broadcast address included. */
export function isMulticast(address: Uint8Array): boolean {
  return (address[0] & 1) !== 0;
}
