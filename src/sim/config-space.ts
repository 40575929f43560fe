/** The device-specific configuration of a network device (VIRTIO 1.3, 5.1.4). */
import type { AccessWidth } from '../transport/transport.js';
import { hasFeature, type SimulatedFeature } from './features.js';
import { DriverViolation } from './violation.js';

const LINK_UP = 1;
const ANNOUNCE = 2;

/** A field of the configuration. */
interface Field {
  readonly name: string;
  readonly offset: number;
  readonly length: 1 | 2 | 4 | 6;
  /** It is there if one of these is offered; always, without any. */
  readonly oneOf: readonly SimulatedFeature[];
}

const MAC: Field = { name: 'mac', offset: 0, length: 6, oneOf: [] };
const STATUS: Field = { name: 'status', offset: 6, length: 2, oneOf: ['VIRTIO_NET_F_STATUS'] };
const MTU: Field = { name: 'mtu', offset: 10, length: 2, oneOf: ['VIRTIO_NET_F_MTU'] };
const SPEED: Field = { name: 'speed', offset: 12, length: 4, oneOf: ['VIRTIO_NET_F_SPEED_DUPLEX'] };
const DUPLEX: Field = { name: 'duplex', offset: 16, length: 1, oneOf: ['VIRTIO_NET_F_SPEED_DUPLEX'] };
const PAIRS: Field = {
  name: 'max_virtqueue_pairs',
  offset: 8,
  length: 2,
  oneOf: ['VIRTIO_NET_F_MQ', 'VIRTIO_NET_F_RSS'],
};
const KEY_SIZE: Field = {
  name: 'rss_max_key_size',
  offset: 17,
  length: 1,
  oneOf: ['VIRTIO_NET_F_RSS', 'VIRTIO_NET_F_HASH_REPORT'],
};
const TABLE_LENGTH: Field = {
  name: 'rss_max_indirection_table_length',
  offset: 18,
  length: 2,
  oneOf: ['VIRTIO_NET_F_RSS'],
};
const HASH_TYPES: Field = {
  name: 'supported_hash_types',
  offset: 20,
  length: 4,
  oneOf: ['VIRTIO_NET_F_RSS', 'VIRTIO_NET_F_HASH_REPORT'],
};
const TUNNEL_TYPES: Field = {
  name: 'supported_tunnel_types',
  offset: 24,
  length: 4,
  oneOf: ['VIRTIO_NET_F_HASH_TUNNEL'],
};
const FIELDS = [MAC, STATUS, PAIRS, MTU, SPEED, DUPLEX, KEY_SIZE, TABLE_LENGTH, HASH_TYPES, TUNNEL_TYPES];

/** What the configuration starts with. */
export interface ConfigSpaceOptions {
  readonly offered: bigint;
  readonly legacy: boolean;
  readonly mac: Uint8Array;
  readonly mtu: number;
  readonly linkUp: boolean;
  readonly maxPairs: number;
  /** In Mbit/s; 0xffffffff where it is unknown. */
  readonly speed: number;
  /** 0 half, 1 full, 0xff unknown. */
  readonly duplex: number;
  readonly rssMaxKeySize: number;
  readonly rssMaxTableLength: number;
  readonly hashTypes: number;
  readonly tunnelTypes: number;
}

export class ConfigSpace {
  readonly #fields: readonly Field[];
  readonly #legacy: boolean;
  readonly #hasMac: boolean;
  readonly #permanentMac: Uint8Array;
  readonly #view: DataView;
  #mac: Uint8Array;
  #linkUp: boolean;
  #announce = false;
  #generation = 0;

  constructor(options: ConfigSpaceOptions) {
    const { offered } = options;
    this.#fields = FIELDS.filter(
      ({ oneOf }) => oneOf.length === 0 || oneOf.some((feature) => hasFeature(offered, feature)),
    );
    this.#legacy = options.legacy;
    this.#hasMac = hasFeature(offered, 'VIRTIO_NET_F_MAC');
    this.#permanentMac = options.mac.slice();
    this.#mac = this.#permanentMac;
    this.#linkUp = options.linkUp;
    this.#view = new DataView(
      new ArrayBuffer(Math.max(...this.#fields.map(({ offset, length }) => offset + length))),
    );
    this.setMac(options.mac);
    this.setLink(options.linkUp);
    this.setMtu(options.mtu);
    this.setSpeed(options.speed, options.duplex);
    this.#set(PAIRS, options.maxPairs);
    this.#set(KEY_SIZE, options.rssMaxKeySize);
    this.#set(TABLE_LENGTH, options.rssMaxTableLength);
    this.#set(HASH_TYPES, options.hashTypes);
    this.#set(TUNNEL_TYPES, options.tunnelTypes);
  }

  get length(): number {
    return this.#view.byteLength;
  }

  /** Grows, modulo 2^8, with every change; a legacy device does not have it, and says 0. */
  get generation(): number {
    return this.#legacy ? 0 : this.#generation;
  }

  /** The address of the device now, whether or not the driver can read it. */
  get mac(): Uint8Array {
    return this.#mac;
  }

  /** @throws DriverViolation for a field whose feature is not offered */
  read(offset: number, width: AccessWidth): number {
    this.#checkAccess('read', offset, width);
    for (const field of FIELDS) {
      if (!overlaps(field, offset, width) || this.#fields.includes(field)) continue;
      throw new DriverViolation(
        `the driver read the configuration field ${field.name}, which is not offered`,
      );
    }
    if (width === 1) return this.#view.getUint8(offset);
    return width === 2 ? this.#view.getUint16(offset, true) : this.#view.getUint32(offset, true);
  }

  /** @throws DriverViolation for all but the MAC address of a legacy device, the only field that may be written */
  write(offset: number, width: AccessWidth, value: number): void {
    this.#checkAccess('write', offset, width);
    const field = FIELDS.find((one) => overlaps(one, offset, width));
    if (!this.#legacy || field !== MAC || offset + width > MAC.length) {
      const what = field?.name ?? `at offset ${offset}`;
      throw new DriverViolation(`the driver wrote the configuration field ${what}, which is read-only`);
    }
    const mac = this.#mac.slice();
    for (let at = 0; at < width; at++) mac[offset + at] = (value >>> (8 * at)) & 0xff;
    this.setMac(mac);
  }

  /** What the driver has changed is undone. */
  reset(): void {
    this.setMac(this.#permanentMac);
    this.setAnnounce(false);
  }

  setMac(mac: Uint8Array): void {
    this.#mac = mac.slice();
    if (!this.#hasMac) return;
    const bytes = new Uint8Array(this.#view.buffer, MAC.offset, MAC.length);
    if (mac.every((byte, at) => byte === bytes[at])) return;
    bytes.set(mac);
    this.#changed();
  }

  /** Says whether the driver can see the change. */
  setLink(up: boolean): boolean {
    this.#linkUp = up;
    return this.#setStatus();
  }

  /** Asks the driver, or no more, to announce itself; says whether the driver can see the change. */
  setAnnounce(announce: boolean): boolean {
    this.#announce = announce;
    return this.#setStatus();
  }

  /** Says whether the driver can see the change. */
  setMtu(mtu: number): boolean {
    return this.#set(MTU, mtu);
  }

  /** Says whether the driver can see the change. */
  setSpeed(speed: number, duplex: number): boolean {
    const changed = [this.#set(SPEED, speed), this.#set(DUPLEX, duplex)];
    return changed.includes(true);
  }

  #setStatus(): boolean {
    return this.#set(STATUS, (this.#linkUp ? LINK_UP : 0) | (this.#announce ? ANNOUNCE : 0));
  }

  #set(field: Field, value: number): boolean {
    if (!this.#fields.includes(field)) return false;
    const { offset, length } = field;
    const bytes = new Uint8Array(this.#view.buffer, offset, length);
    const wanted = Array.from({ length }, (_, at) => (value >>> (8 * at)) & 0xff);
    if (wanted.every((byte, at) => byte === bytes[at])) return false;
    bytes.set(wanted);
    this.#changed();
    return true;
  }

  #changed(): void {
    this.#generation = (this.#generation + 1) & 0xff;
  }

  #checkAccess(action: string, offset: number, width: AccessWidth): void {
    if (Number.isInteger(offset) && offset >= 0 && offset % width === 0 && offset + width <= this.length)
      return;
    const what = `a ${action} of ${width} bytes at offset ${offset}`;
    throw new RangeError(`${what} is not aligned, or lies outside a configuration of ${this.length} bytes`);
  }
}

function overlaps(field: Field, offset: number, width: number): boolean {
  return field.offset < offset + width && field.offset + field.length > offset;
}
