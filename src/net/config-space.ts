/**
 * struct virtio_net_config: what the device says of itself (VIRTIO 1.3, 5.1.4).
 */
import { DeviceError } from '../errors.js';
import type { AccessWidth, Transport } from '../transport/transport.js';
import type { FeatureName } from './feature-table.js';
import type { NegotiatedFeatures } from './features.js';

const MAC_AT = 0;
const MAC_SIZE = 6;
const STATUS_AT = 6;
const MTU_AT = 10;
/** Bit of `status`: the link is up. */
const LINK_UP = 1;

/** MTU of Ethernet, where the device tells none. */
const DEFAULT_MTU = 1500;
/** The smallest MTU that a device may tell (5.1.4.1). */
const LEAST_MTU = 68;

/** How often a reading is repeated before the device is taken to be at fault. */
const ATTEMPTS = 64;

/** A consistent reading of the configuration. */
export interface NetConfig {
  /** The MAC address, or undefined if the device tells none. */
  readonly mac: Uint8Array | undefined;
  /** In bytes, without Ethernet header. */
  readonly mtu: number;
  readonly linkUp: boolean;
  /** The generation that the reading belongs to. */
  readonly generation: number;
}

/**
 * Reads the configuration; only fields whose feature was negotiated are touched (2.5.2).
 *
 * @throws DeviceError DEVICE_CONFIG_UNSTABLE, DEVICE_CONFIG_INVALID
 */
export function readNetConfig(transport: Transport, features: NegotiatedFeatures): NetConfig {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    // Several fields, and fields over 32 bits, are consistent if the generation is the same before and after (2.5.1).
    const generation = transport.readConfigGeneration();
    const config = readFields(transport, features, generation);
    if (transport.readConfigGeneration() === generation) return checkConfig(transport, config);
  }
  throw new DeviceError(
    'DEVICE_CONFIG_UNSTABLE',
    `The configuration of ${transport.name} changed during each of ${ATTEMPTS} readings`,
  );
}

function readFields(transport: Transport, features: NegotiatedFeatures, generation: number): NetConfig {
  const field = (feature: FeatureName, offset: number, width: AccessWidth): number | undefined =>
    features.has(feature) ? readField(transport, feature, offset, width) : undefined;
  const status = field('VIRTIO_NET_F_STATUS', STATUS_AT, 2);
  return {
    mac: features.has('VIRTIO_NET_F_MAC') ? readMac(transport) : undefined,
    mtu: field('VIRTIO_NET_F_MTU', MTU_AT, 2) ?? DEFAULT_MTU,
    // Without the status field the link is taken to be up (5.1.4.2).
    linkUp: status === undefined || (status & LINK_UP) !== 0,
    generation,
  };
}

function readMac(transport: Transport): Uint8Array {
  return Uint8Array.from({ length: MAC_SIZE }, (_, byte) =>
    readField(transport, 'VIRTIO_NET_F_MAC', MAC_AT + byte, 1),
  );
}

function readField(transport: Transport, feature: FeatureName, offset: number, width: AccessWidth): number {
  if (offset + width > transport.configLength) {
    throw new DeviceError(
      'DEVICE_CONFIG_INVALID',
      `${transport.name} offers ${feature}, but its configuration of ${transport.configLength} bytes has no room for it`,
    );
  }
  return transport.readConfig(offset, width);
}

function checkConfig(transport: Transport, config: NetConfig): NetConfig {
  if (config.mtu < LEAST_MTU) {
    throw new DeviceError(
      'DEVICE_CONFIG_INVALID',
      `${transport.name} tells an MTU of ${config.mtu}, below the least of ${LEAST_MTU}`,
    );
  }
  return config;
}
