/**
 * struct virtio_net_config: what the device says of itself (VIRTIO 1.3, 5.1.4).
 */
import { DeviceError } from '../errors.js';
import type { AccessWidth, Transport } from '../transport/transport.js';
import type { FeatureName } from './feature-table.js';
import type { NegotiatedFeatures } from './features.js';

/** Where each field is, and how wide it is, in bytes. */
const FIELDS = {
  mac: { at: 0, width: 1 },
  status: { at: 6, width: 2 },
  maxQueuePairs: { at: 8, width: 2 },
  mtu: { at: 10, width: 2 },
  speed: { at: 12, width: 4 },
  duplex: { at: 16, width: 1 },
  rssMaxKeySize: { at: 17, width: 1 },
  rssMaxTableLength: { at: 18, width: 2 },
  supportedHashTypes: { at: 20, width: 4 },
  supportedTunnelTypes: { at: 24, width: 4 },
} as const satisfies Record<string, { at: number; width: AccessWidth }>;

type Field = keyof typeof FIELDS;

export const MAC_AT = FIELDS.mac.at;
export const MAC_SIZE = 6;
/** Bits of `status`; the others are reserved. */
const LINK_UP = 1;
const ANNOUNCE = 2;

/** MTU of Ethernet, where the device tells none. */
const DEFAULT_MTU = 1500;
/** The smallest MTU that a device may tell (5.1.4.1). */
const LEAST_MTU = 68;
const MOST_QUEUE_PAIRS = 0x8000;
/** Speeds above this, in Mbit/s, are unknown (5.1.4.2). */
const MOST_SPEED = 0x7fff_ffff;
/** What a device that hashes must take at least (5.1.4.1). */
const LEAST_KEY_SIZE = 40;
const LEAST_TABLE_LENGTH = 128;

/** How often a reading is repeated before the device is taken to be at fault. */
const ATTEMPTS = 64;

/** Whether both ends of a link may send at the same time. */
export type Duplex = 'full' | 'half';

/** What a device that hashes received frames can do, for RSS and hash reports. */
export interface HashCapabilities {
  /** Longest key in bytes. */
  readonly maxKeySize: number;
  /** Most entries of an indirection table; 0 without VIRTIO_NET_F_RSS. */
  readonly maxTableLength: number;
  /** Bits of the supported hash types. */
  readonly hashTypes: number;
  /** Bits of the tunnels whose inner headers it can hash; 0 without VIRTIO_NET_F_HASH_TUNNEL. */
  readonly tunnelTypes: number;
}

/** A consistent reading of the configuration. */
export interface NetConfig {
  /** The MAC address, or undefined if the device tells none. */
  readonly mac: Uint8Array | undefined;
  /** In bytes, without Ethernet header. */
  readonly mtu: number;
  readonly linkUp: boolean;
  /** The device asks to be announced on its network (5.1.6.5.4). */
  readonly announce: boolean;
  /** How many queue pairs there can be: 1 with neither VIRTIO_NET_F_MQ nor VIRTIO_NET_F_RSS. */
  readonly maxQueuePairs: number;
  /** In Mbit/s; undefined if the device does not know, or does not tell. */
  readonly speed: number | undefined;
  readonly duplex: Duplex | undefined;
  /** Undefined with neither VIRTIO_NET_F_RSS nor VIRTIO_NET_F_HASH_REPORT. */
  readonly hash: HashCapabilities | undefined;
  /** The generation that the reading belongs to. */
  readonly generation: number;
}

/**
 * Reads the configuration; only fields whose feature was negotiated are touched (2.5.2).
 *
 * @throws DeviceError DEVICE_CONFIG_UNSTABLE, DEVICE_CONFIG_INVALID
 */
export function readNetConfig(transport: Transport, features: NegotiatedFeatures): NetConfig {
  const config = readConsistently(transport, new FieldReader(transport, features));
  checkConfig(transport, features, config);
  return config;
}

/**
 * Several fields, and fields over 32 bits, are consistent if the generation is the same before and after (2.5.1). The
 * legacy interface has no generation: there two readings must agree (2.5.3).
 */
function readConsistently(transport: Transport, reader: FieldReader): NetConfig {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const generation = transport.readConfigGeneration();
    const config = reader.read(generation);
    if (transport.readConfigGeneration() !== generation) continue;
    if (!transport.legacy || areSame(config, reader.read(generation))) return config;
  }
  throw new DeviceError(
    'DEVICE_CONFIG_UNSTABLE',
    `The configuration of ${transport.name} changed during each of ${ATTEMPTS} readings`,
  );
}

function areSame(one: NetConfig, other: NetConfig): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

class FieldReader {
  private readonly transport: Transport;
  private readonly features: NegotiatedFeatures;

  constructor(transport: Transport, features: NegotiatedFeatures) {
    this.transport = transport;
    this.features = features;
  }

  read(generation: number): NetConfig {
    const status = this.field('status', 'VIRTIO_NET_F_STATUS');
    const announce = status !== undefined && this.features.has('VIRTIO_NET_F_GUEST_ANNOUNCE');
    return {
      mac: this.mac(),
      mtu: this.field('mtu', 'VIRTIO_NET_F_MTU') ?? DEFAULT_MTU,
      // Without the status field the link is taken to be up (5.1.4.2).
      linkUp: status === undefined || (status & LINK_UP) !== 0,
      announce: announce && (status & ANNOUNCE) !== 0,
      maxQueuePairs: this.field('maxQueuePairs', 'VIRTIO_NET_F_MQ', 'VIRTIO_NET_F_RSS') ?? 1,
      speed: knownSpeed(this.field('speed', 'VIRTIO_NET_F_SPEED_DUPLEX')),
      duplex: knownDuplex(this.field('duplex', 'VIRTIO_NET_F_SPEED_DUPLEX')),
      hash: this.hash(),
      generation,
    };
  }

  private mac(): Uint8Array | undefined {
    if (!this.features.has('VIRTIO_NET_F_MAC')) return undefined;
    return Uint8Array.from({ length: MAC_SIZE }, (_, byte) => this.value('mac', 'VIRTIO_NET_F_MAC', byte));
  }

  private hash(): HashCapabilities | undefined {
    const hashing = ['VIRTIO_NET_F_RSS', 'VIRTIO_NET_F_HASH_REPORT'] as const;
    const maxKeySize = this.field('rssMaxKeySize', ...hashing);
    if (maxKeySize === undefined) return undefined;
    return {
      maxKeySize,
      maxTableLength: this.field('rssMaxTableLength', 'VIRTIO_NET_F_RSS') ?? 0,
      hashTypes: this.field('supportedHashTypes', ...hashing) ?? 0,
      tunnelTypes: this.field('supportedTunnelTypes', 'VIRTIO_NET_F_HASH_TUNNEL') ?? 0,
    };
  }

  /** The field, if one of its features was negotiated. */
  private field(name: Field, ...features: readonly FeatureName[]): number | undefined {
    const feature = features.find((each) => this.features.has(each));
    return feature === undefined ? undefined : this.value(name, feature, 0);
  }

  private value(name: Field, feature: FeatureName, byte: number): number {
    const { transport } = this;
    const { at, width } = FIELDS[name];
    if (at + byte + width > transport.configLength) {
      throw new DeviceError(
        'DEVICE_CONFIG_INVALID',
        `${transport.name} offers ${feature}, but its configuration of ${transport.configLength} bytes has no room for it`,
      );
    }
    return transport.readConfig(at + byte, width);
  }
}

/** Whatever is beyond the range is to be taken as unknown (5.1.4.2). */
function knownSpeed(speed: number | undefined): number | undefined {
  return speed === undefined || speed > MOST_SPEED ? undefined : speed;
}

function knownDuplex(duplex: number | undefined): Duplex | undefined {
  if (duplex === 1) return 'full';
  return duplex === 0 ? 'half' : undefined;
}

function checkConfig(transport: Transport, features: NegotiatedFeatures, config: NetConfig): void {
  const { mtu, maxQueuePairs, hash } = config;
  checkRange(transport, 'an MTU', mtu, LEAST_MTU, 0xffff);
  checkRange(transport, 'max_virtqueue_pairs', maxQueuePairs, 1, MOST_QUEUE_PAIRS);
  if (hash === undefined) return;
  checkRange(transport, 'rss_max_key_size', hash.maxKeySize, LEAST_KEY_SIZE, 0xff);
  if (!features.has('VIRTIO_NET_F_RSS')) return;
  checkRange(transport, 'rss_max_indirection_table_length', hash.maxTableLength, LEAST_TABLE_LENGTH, 0xffff);
}

function checkRange(transport: Transport, what: string, value: number, least: number, most: number): void {
  if (value >= least && value <= most) return;
  throw new DeviceError(
    'DEVICE_CONFIG_INVALID',
    `${transport.name} tells ${what} of ${value}, which is not from ${least} to ${most}`,
  );
}
