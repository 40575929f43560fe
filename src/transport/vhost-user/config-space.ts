/**
 * The configuration space of a vhost-user device (VIRTIO 1.3, 5.1.4). Most backends have none: the front-end makes it up.
 */
import { UsageError } from '../../errors.js';
import { CONFIG_LENGTH, type Greeting } from './greeting.js';
import type { AccessWidth } from '../transport.js';

const MAC_AT = 0;
const STATUS_AT = 6;
const QUEUE_PAIRS_AT = 8;
const MTU_AT = 10;
const LINK_UP = 1;
/** VIRTIO_NET_F_MTU and VIRTIO_NET_F_MAC of a backend that tells them. */
const NET_MTU = 1n << 3n;
const NET_MAC = 1n << 5n;
const MAC_SIZE = 6;
const MULTICAST = 1;
/** The smallest MTU that a device may tell (VIRTIO 1.3, 5.1.4.1). */
const LEAST_MTU = 68;

/** What the program says of the card. */
export interface CardSettings {
  /** 6 bytes; that of the backend, or a random one, where it is left out. */
  readonly mac: Uint8Array | undefined;
  /** In bytes; that of the backend, where it is left out. */
  readonly mtu: number | undefined;
}

/** The MTU of a card whose program says nothing, in bytes; undefined where the backend tells none that can be. */
export function mtuOf({ features, config }: Greeting): number | undefined {
  if ((features & NET_MTU) === 0n || config === undefined) return undefined;
  const mtu = config[MTU_AT] + 256 * config[MTU_AT + 1];
  return mtu >= LEAST_MTU ? mtu : undefined;
}

/** Many say that they have an address, and leave it to the front-end to have one. */
function macOf({ features, config }: Greeting): Uint8Array | undefined {
  if ((features & NET_MAC) === 0n || config === undefined) return undefined;
  const mac = config.subarray(MAC_AT, MAC_AT + MAC_SIZE);
  const isOfOneCard = (mac[0] & MULTICAST) === 0 && mac.some((byte) => byte !== 0);
  return isOfOneCard ? mac : undefined;
}

export class VhostUserConfig {
  readonly length = CONFIG_LENGTH;
  /** Changes whenever the content does. */
  generation = 0;
  readonly #bytes = new Uint8Array(CONFIG_LENGTH);
  /** What the program says. */
  readonly #mtu: number | undefined;

  constructor({ mac, mtu }: CardSettings, greeting: Greeting) {
    this.#mtu = mtu;
    this.#bytes.set(mac ?? macOf(greeting) ?? randomMac(), MAC_AT);
    this.update(greeting);
  }

  /** Takes over what another backend, or the same one anew, tells. The address stays: others know the card by it. */
  update(greeting: Greeting): void {
    this.#set16(QUEUE_PAIRS_AT, greeting.queuePairs);
    this.#set16(MTU_AT, this.#mtu ?? mtuOf(greeting) ?? 0);
    this.setLink(true);
  }

  /** The link is up as long as there is a backend. */
  setLink(up: boolean): void {
    this.#set16(STATUS_AT, up ? LINK_UP : 0);
    this.generation = (this.generation + 1) & 0xff;
  }

  read(offset: number, width: AccessWidth): number {
    this.#check(offset, width);
    let value = 0;
    for (let byte = width - 1; byte >= 0; byte -= 1) value = value * 256 + this.#bytes[offset + byte];
    return value;
  }

  write(offset: number, width: AccessWidth, value: number): void {
    this.#check(offset, width);
    for (let byte = 0; byte < width; byte += 1) this.#bytes[offset + byte] = Math.floor(value / 256 ** byte);
  }

  #set16(offset: number, value: number): void {
    this.#bytes.set([value & 0xff, value >>> 8], offset);
  }

  #check(offset: number, width: number): void {
    if (offset >= 0 && offset % width === 0 && offset + width <= this.length) return;
    throw new UsageError('OPTION_INVALID', `No field of ${width} bytes at ${offset} in the configuration`);
  }
}

/** A locally administered unicast address (VIRTIO 1.3, 5.1.4.2). */
function randomMac(): Uint8Array {
  const mac = crypto.getRandomValues(new Uint8Array(MAC_SIZE));
  mac[0] = (mac[0] & 0xfc) | 0x02;
  return mac;
}
