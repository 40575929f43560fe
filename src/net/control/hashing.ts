/**
 * What the device hashes of received frames, and where it puts them accordingly: receive side scaling
 * (VIRTIO 1.3, 5.1.6.4.3, 5.1.6.4.4, 5.1.6.5.6.4, 5.1.6.5.7).
 */
import { describe, requireBytes, requireFields, requireList } from '../arguments.js';
import type { HashCapabilities } from '../config-space.js';
import { invalid, requireInteger } from './requirements.js';

/** Kinds of frames that can be hashed, with their bits. */
export const HASH_TYPES = {
  IPv4: 1 << 0,
  TCPv4: 1 << 1,
  UDPv4: 1 << 2,
  IPv6: 1 << 3,
  TCPv6: 1 << 4,
  UDPv6: 1 << 5,
  IPv6_EX: 1 << 6,
  TCPv6_EX: 1 << 7,
  UDPv6_EX: 1 << 8,
} as const;
export type HashType = keyof typeof HASH_TYPES;

/** Tunnels whose inner headers can be hashed, with their bits; bits that have no name here are ignored (5.1.6.4.4). */
export const TUNNEL_TYPES = {
  GRE_2784: 1 << 0,
  GRE_2890: 1 << 1,
  GRE_7676: 1 << 2,
  GRE_UDP: 1 << 3,
  VXLAN: 1 << 4,
  VXLAN_GPE: 1 << 5,
  GENEVE: 1 << 6,
  IPIP: 1 << 7,
  NVGRE: 1 << 8,
} as const;
export type TunnelType = keyof typeof TUNNEL_TYPES;

/** How frames are hashed. */
export interface HashConfig {
  /** Kinds of frames to hash; by default all that the device can. */
  readonly types?: readonly HashType[];
  /** The key of the Toeplitz hash; by default 40 random bytes. */
  readonly key?: Uint8Array;
}

/** How received frames are spread over queue pairs. */
export interface RssConfig extends HashConfig {
  /**
   * Numbers of queue pairs: the low bits of a frame's hash select the entry. Its length is a power of two. By default
   * 128 entries that name all pairs in turn.
   */
  readonly table?: readonly number[];
  /** The queue pair of frames that are not hashed; 0 by default. */
  readonly unclassified?: number;
  /** How many of the queue pairs, from the first on, send; all by default. */
  readonly transmitPairs?: number;
}

/** Receive side scaling as it was set, with the defaults filled in. */
export type RssSettings = Required<RssConfig>;

const HASH_FIELDS = ['types', 'key'] as const satisfies (keyof HashConfig)[];
const RSS_FIELDS = [
  ...HASH_FIELDS,
  'table',
  'unclassified',
  'transmitPairs',
] as const satisfies (keyof RssConfig)[];

const DEFAULT_KEY_LENGTH = 40;
const DEFAULT_TABLE_LENGTH = 128;

/** @throws UsageError OPTION_INVALID */
export function completeHash(config: HashConfig, device: HashCapabilities): Required<HashConfig> {
  requireFields('The hash', config, HASH_FIELDS);
  return completed(config, device);
}

function completed(config: HashConfig, device: HashCapabilities): Required<HashConfig> {
  const { types = namesOf(HASH_TYPES, device.hashTypes), key = randomKey() } = config;
  bitsOf('Hash type', HASH_TYPES, types, device.hashTypes);
  requireBytes('The key', key);
  // Where something is hashed there must be a key; devices refuse the command otherwise.
  requireInteger('The length of the key', key.length, types.length === 0 ? 0 : 1, device.maxKeySize);
  return { types: [...types], key: Uint8Array.from(key) };
}

/**
 * @param pairs - how many queue pairs are open
 * @throws UsageError OPTION_INVALID
 */
export function completeRss(config: RssConfig, device: HashCapabilities, pairs: number): RssSettings {
  requireFields('Receive side scaling', config, RSS_FIELDS);
  const { table = evenTable(pairs), unclassified = 0, transmitPairs = pairs } = config;
  requireList('The table', table);
  requireInteger('The length of the table', table.length, 1, device.maxTableLength);
  if ((table.length & (table.length - 1)) !== 0) {
    throw invalid(`The table has ${table.length} entries`, 'Their number is a power of two.');
  }
  for (const pair of [...table, unclassified]) requireInteger('A queue pair', pair, 0, pairs - 1);
  requireInteger('transmitPairs', transmitPairs, 1, pairs);
  return { ...completed(config, device), table: [...table], unclassified, transmitPairs };
}

/** struct virtio_net_rss_config; a queue pair's number is bits 1 to 16 of its receive queue's (5.1.6.5.7.1). */
export function encodeRss({ types, key, table, unclassified, transmitPairs }: RssSettings): Uint8Array {
  const bytes = new Uint8Array(8 + 2 * table.length + 3 + key.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, sum(HASH_TYPES, types), true);
  view.setUint16(4, table.length - 1, true);
  view.setUint16(6, unclassified, true);
  table.forEach((pair, entry) => view.setUint16(8 + 2 * entry, pair, true));
  const behind = 8 + 2 * table.length;
  view.setUint16(behind, transmitPairs, true);
  view.setUint8(behind + 2, key.length);
  bytes.set(key, behind + 3);
  return bytes;
}

/** struct virtio_net_hash_config. */
export function encodeHash({ types, key }: Required<HashConfig>): Uint8Array {
  const bytes = new Uint8Array(13 + key.length);
  new DataView(bytes.buffer).setUint32(0, sum(HASH_TYPES, types), true);
  bytes[12] = key.length;
  bytes.set(key, 13);
  return bytes;
}

/**
 * The bits of tunnel types.
 *
 * @throws UsageError OPTION_INVALID
 */
export function tunnelBits(types: readonly TunnelType[], device: HashCapabilities): number {
  return bitsOf('Tunnel type', TUNNEL_TYPES, types, device.tunnelTypes);
}

/** @throws UsageError OPTION_INVALID for a name that is unknown, or that the device does not support */
function bitsOf<Name extends string>(
  what: string,
  bits: Readonly<Record<Name, number>>,
  names: readonly Name[],
  supported: number,
): number {
  requireList(`${what}s`, names);
  const able = namesOf(bits, supported);
  // Not what is found, which may be undefined itself.
  const at = names.findIndex((name) => !able.includes(name));
  if (at < 0) return sum(bits, names);
  throw invalid(
    `${what} ${describe(names[at])} is not supported by the device`,
    `It supports ${able.join(', ') || 'none'}.`,
  );
}

function namesOf<Name extends string>(bits: Readonly<Record<Name, number>>, set: number): Name[] {
  return (Object.keys(bits) as Name[]).filter((name) => (set & bits[name]) !== 0);
}

function sum<Name extends string>(bits: Readonly<Record<Name, number>>, names: readonly Name[]): number {
  return names.reduce((all, name) => all | bits[name], 0);
}

/** Names all pairs in turn. */
function evenTable(pairs: number): number[] {
  return Array.from({ length: DEFAULT_TABLE_LENGTH }, (_, entry) => entry % pairs);
}

function randomKey(): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(DEFAULT_KEY_LENGTH));
}
