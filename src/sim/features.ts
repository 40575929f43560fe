/** The feature bits that the simulated device knows, and what it accepts (VIRTIO 1.3, 2.2, 5.1.3, 6). */
import { UsageError } from '../errors.js';

/** Number of each feature bit that the simulated device implements. */
export const SIMULATED_FEATURES = {
  VIRTIO_NET_F_CSUM: 0,
  VIRTIO_NET_F_GUEST_CSUM: 1,
  VIRTIO_NET_F_CTRL_GUEST_OFFLOADS: 2,
  VIRTIO_NET_F_MTU: 3,
  VIRTIO_NET_F_MAC: 5,
  VIRTIO_NET_F_GUEST_TSO4: 7,
  VIRTIO_NET_F_GUEST_TSO6: 8,
  VIRTIO_NET_F_GUEST_ECN: 9,
  VIRTIO_NET_F_GUEST_UFO: 10,
  VIRTIO_NET_F_HOST_TSO4: 11,
  VIRTIO_NET_F_HOST_TSO6: 12,
  VIRTIO_NET_F_HOST_ECN: 13,
  VIRTIO_NET_F_HOST_UFO: 14,
  VIRTIO_NET_F_MRG_RXBUF: 15,
  VIRTIO_NET_F_STATUS: 16,
  VIRTIO_NET_F_CTRL_VQ: 17,
  VIRTIO_NET_F_CTRL_RX: 18,
  VIRTIO_NET_F_CTRL_VLAN: 19,
  VIRTIO_NET_F_CTRL_RX_EXTRA: 20,
  VIRTIO_NET_F_GUEST_ANNOUNCE: 21,
  VIRTIO_NET_F_MQ: 22,
  VIRTIO_NET_F_CTRL_MAC_ADDR: 23,
  VIRTIO_F_ANY_LAYOUT: 27,
  VIRTIO_F_RING_INDIRECT_DESC: 28,
  VIRTIO_F_RING_EVENT_IDX: 29,
  VIRTIO_F_VERSION_1: 32,
  VIRTIO_F_ACCESS_PLATFORM: 33,
  VIRTIO_F_RING_PACKED: 34,
  VIRTIO_F_IN_ORDER: 35,
  VIRTIO_F_ORDER_PLATFORM: 36,
  VIRTIO_F_NOTIFICATION_DATA: 38,
  VIRTIO_F_RING_RESET: 40,
  VIRTIO_NET_F_DEVICE_STATS: 50,
  VIRTIO_NET_F_HASH_TUNNEL: 51,
  VIRTIO_NET_F_VQ_NOTF_COAL: 52,
  VIRTIO_NET_F_NOTF_COAL: 53,
  VIRTIO_NET_F_GUEST_USO4: 54,
  VIRTIO_NET_F_GUEST_USO6: 55,
  VIRTIO_NET_F_HOST_USO: 56,
  VIRTIO_NET_F_HASH_REPORT: 57,
  VIRTIO_NET_F_GUEST_HDRLEN: 59,
  VIRTIO_NET_F_RSS: 60,
  VIRTIO_NET_F_RSC_EXT: 61,
  VIRTIO_NET_F_STANDBY: 62,
  VIRTIO_NET_F_SPEED_DUPLEX: 63,
} as const;

export type SimulatedFeature = keyof typeof SIMULATED_FEATURES;

const DEFAULT_FEATURES: readonly SimulatedFeature[] = [
  'VIRTIO_F_VERSION_1',
  'VIRTIO_F_ACCESS_PLATFORM',
  'VIRTIO_F_RING_EVENT_IDX',
  'VIRTIO_F_RING_INDIRECT_DESC',
  'VIRTIO_NET_F_MAC',
  'VIRTIO_NET_F_STATUS',
  'VIRTIO_NET_F_MTU',
];

/** The bits that the legacy interface has (VIRTIO 1.3, 2.2.3). */
const LEGACY_BITS = 0xffff_ffffn;

/** Each feature bit with those of which it needs at least one (VIRTIO 1.3, 5.1.3.1). */
const REQUIREMENTS: readonly (readonly [bit: number, oneOf: readonly number[]])[] = [
  [7, [1]], // GUEST_TSO4: GUEST_CSUM
  [8, [1]], // GUEST_TSO6: GUEST_CSUM
  [9, [7, 8]], // GUEST_ECN: GUEST_TSO4 or GUEST_TSO6
  [10, [1]], // GUEST_UFO: GUEST_CSUM
  [11, [0]], // HOST_TSO4: CSUM
  [12, [0]], // HOST_TSO6: CSUM
  [13, [11, 12]], // HOST_ECN: HOST_TSO4 or HOST_TSO6
  [14, [0]], // HOST_UFO: CSUM
  [18, [17]], // CTRL_RX: CTRL_VQ
  [19, [17]], // CTRL_VLAN: CTRL_VQ
  [21, [17]], // GUEST_ANNOUNCE: CTRL_VQ
  [22, [17]], // MQ: CTRL_VQ
  [23, [17]], // CTRL_MAC_ADDR: CTRL_VQ
  [51, [17]], // HASH_TUNNEL: CTRL_VQ
  [51, [57, 60]], // HASH_TUNNEL: HASH_REPORT or RSS
  [52, [17]], // VQ_NOTF_COAL: CTRL_VQ
  [53, [17]], // NOTF_COAL: CTRL_VQ
  [54, [1]], // GUEST_USO4: GUEST_CSUM
  [55, [1]], // GUEST_USO6: GUEST_CSUM
  [56, [0]], // HOST_USO: CSUM
  [60, [17]], // RSS: CTRL_VQ
  [61, [11, 12]], // RSC_EXT: HOST_TSO4 or HOST_TSO6
  [64, [60]], // RSS_CONTEXT: RSS
];

/**
 * The features that a device is to offer, as bits.
 *
 * @throws UsageError OPTION_INVALID for a name that is unknown
 */
export function featureBits(
  features: bigint | readonly SimulatedFeature[] = DEFAULT_FEATURES,
  legacy = false,
): bigint {
  const offered = bitsOf(features);
  return legacy ? offered & LEGACY_BITS : offered;
}

function bitsOf(features: bigint | readonly SimulatedFeature[]): bigint {
  if (typeof features === 'bigint') return features;
  return features.reduce((bits, name) => bits | (1n << BigInt(bitNumber(name))), 0n);
}

function bitNumber(name: SimulatedFeature): number {
  if (Object.hasOwn(SIMULATED_FEATURES, name)) return SIMULATED_FEATURES[name];
  const known = Object.keys(SIMULATED_FEATURES).join(', ');
  throw new UsageError('OPTION_INVALID', `The simulated device has no feature ${JSON.stringify(name)}`, {
    remedy: `Name some of ${known}, or give all the bits as a BigInt.`,
  });
}

/** Whether a set of feature bits holds that feature. */
export function hasFeature(bits: bigint, feature: SimulatedFeature): boolean {
  return hasBit(bits, SIMULATED_FEATURES[feature]);
}

/** What rule the driver broke with the features that it chose from the offer; undefined if none. */
export function forbiddenChoice(offered: bigint, chosen: bigint): string | undefined {
  const alien = chosen & ~offered;
  if (alien !== 0n) return `the driver accepted features that were not offered (bits ${listBits(alien)})`;
  for (const [bit, oneOf] of REQUIREMENTS) {
    if (hasBit(chosen, bit) && !oneOf.some((needed) => hasBit(chosen, needed))) {
      return `the driver accepted feature bit ${bit} without bit ${oneOf.join(' or ')}, which it requires`;
    }
  }
  if (hasFeature(offered, 'VIRTIO_F_VERSION_1') && !hasFeature(chosen, 'VIRTIO_F_VERSION_1')) {
    return 'the driver did not accept VIRTIO_F_VERSION_1, which was offered';
  }
  return undefined;
}

/** Whether this device can work with the features that the driver chose. */
export function canWorkWith(offered: bigint, chosen: bigint): boolean {
  const implemented = Object.values(SIMULATED_FEATURES).reduce((bits, bit) => bits | (1n << BigInt(bit)), 0n);
  const platform =
    hasFeature(chosen, 'VIRTIO_F_ACCESS_PLATFORM') || !hasFeature(offered, 'VIRTIO_F_ACCESS_PLATFORM');
  return (chosen & ~implemented) === 0n && hasFeature(chosen, 'VIRTIO_F_VERSION_1') && platform;
}

function hasBit(bits: bigint, bit: number): boolean {
  return ((bits >> BigInt(bit)) & 1n) !== 0n;
}

function listBits(bits: bigint): string {
  const numbers: number[] = [];
  for (let bit = 0, rest = bits; rest !== 0n; bit++, rest >>= 1n) if ((rest & 1n) !== 0n) numbers.push(bit);
  return numbers.join(', ');
}
