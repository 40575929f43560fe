/** The device-specific configuration of a network device (VIRTIO 1.3, 5.1.4). */
import type { AccessWidth } from '../transport/transport.js';
import { hasFeature, type SimulatedFeature } from './features.js';
import { DriverViolation } from './violation.js';

const STATUS_OFFSET = 6;
const PAIRS_OFFSET = 8;
const MTU_OFFSET = 10;

const LINK_UP = 1;

/** A field that is there only if its feature is offered. */
interface OptionalField {
  readonly name: string;
  readonly offset: number;
  readonly end: number;
  readonly feature: SimulatedFeature | undefined;
}

const OPTIONAL_FIELDS: readonly OptionalField[] = [
  { name: 'status', offset: STATUS_OFFSET, end: PAIRS_OFFSET, feature: 'VIRTIO_NET_F_STATUS' },
  // The features that it goes with, MQ and RSS, are not among those of this device.
  { name: 'max_virtqueue_pairs', offset: PAIRS_OFFSET, end: MTU_OFFSET, feature: undefined },
  { name: 'mtu', offset: MTU_OFFSET, end: 12, feature: 'VIRTIO_NET_F_MTU' },
];

/** What the configuration starts with. */
export interface ConfigSpaceOptions {
  readonly offered: bigint;
  readonly mac: Uint8Array;
  readonly mtu: number;
  readonly linkUp: boolean;
}

export class ConfigSpace {
  readonly #fields: readonly OptionalField[];
  readonly #view: DataView;
  #generation = 0;

  constructor(options: ConfigSpaceOptions) {
    this.#fields = OPTIONAL_FIELDS.filter(({ feature }) => isOffered(options.offered, feature));
    const bytes = new Uint8Array(Math.max(STATUS_OFFSET, ...this.#fields.map(({ end }) => end)));
    this.#view = new DataView(bytes.buffer);
    if (hasFeature(options.offered, 'VIRTIO_NET_F_MAC')) bytes.set(options.mac);
    this.setLink(options.linkUp);
    this.setMtu(options.mtu);
  }

  get length(): number {
    return this.#view.byteLength;
  }

  /** Grows, modulo 2^8, with every change. */
  get generation(): number {
    return this.#generation;
  }

  /** @throws DriverViolation for a field whose feature is not offered */
  read(offset: number, width: AccessWidth): number {
    if (!Number.isInteger(offset) || offset < 0 || offset % width !== 0 || offset + width > this.length) {
      const what = `a read of ${width} bytes at offset ${offset}`;
      throw new RangeError(`${what} is not aligned, or lies outside a configuration of ${this.length} bytes`);
    }
    this.#checkOffered(offset, offset + width);
    if (width === 1) return this.#view.getUint8(offset);
    return width === 2 ? this.#view.getUint16(offset, true) : this.#view.getUint32(offset, true);
  }

  /** Says whether the driver can see the change. */
  setLink(up: boolean): boolean {
    return this.#set(STATUS_OFFSET, up ? LINK_UP : 0);
  }

  /** Says whether the driver can see the change. */
  setMtu(mtu: number): boolean {
    return this.#set(MTU_OFFSET, mtu);
  }

  #set(offset: number, value: number): boolean {
    if (!this.#fields.some((field) => field.offset === offset)) return false;
    if (this.#view.getUint16(offset, true) === value) return false;
    this.#view.setUint16(offset, value, true);
    this.#generation = (this.#generation + 1) & 0xff;
    return true;
  }

  #checkOffered(offset: number, end: number): void {
    for (const field of OPTIONAL_FIELDS) {
      if (field.offset >= end || field.end <= offset || this.#fields.includes(field)) continue;
      throw new DriverViolation(
        `the driver read the configuration field ${field.name}, which is not offered`,
      );
    }
  }
}

function isOffered(offered: bigint, feature: SimulatedFeature | undefined): boolean {
  return feature !== undefined && hasFeature(offered, feature);
}
