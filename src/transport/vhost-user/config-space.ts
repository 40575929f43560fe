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
/** VIRTIO_NET_F_MAC of a backend that tells its address. */
const NET_MAC = 1n << 5n;

/** What the program says of the card. */
export interface CardSettings {
  /** 6 bytes; that of the backend, or a random one, where it is left out. */
  readonly mac: Uint8Array | undefined;
  /** In bytes. */
  readonly mtu: number | undefined;
}

export class VhostUserConfig {
  readonly length = CONFIG_LENGTH;
  /** Changes whenever the content does. */
  generation = 0;
  readonly #bytes = new Uint8Array(CONFIG_LENGTH);

  constructor({ mac, mtu }: CardSettings, greeting: Greeting) {
    const own = (greeting.features & NET_MAC) === 0n ? undefined : greeting.config?.subarray(0, 6);
    this.#bytes.set(mac ?? own ?? randomMac(), MAC_AT);
    this.#set16(MTU_AT, mtu ?? 0);
    this.update(greeting);
  }

  /** Takes over what another backend, or the same one anew, tells. */
  update({ queuePairs }: Greeting): void {
    this.#set16(QUEUE_PAIRS_AT, queuePairs);
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
  const mac = crypto.getRandomValues(new Uint8Array(6));
  mac[0] = (mac[0] & 0xfc) | 0x02;
  return mac;
}
