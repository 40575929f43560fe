/**
 * The feature bits that a virtio network device may offer, as data (VIRTIO 1.3, 5.1.3 and 6).
 *
 * Negotiation is derived from this table: to teach the driver a feature, change its `support` here.
 */

/** What the driver does with a feature. */
export type Support =
  /** The driver can not work without it. */
  | 'required'
  /** The driver uses it where the device offers it. */
  | 'wanted'
  /** The driver does not use it. */
  | 'unsupported';

export interface FeatureEntry {
  /** Number of the feature bit. */
  readonly bit: number;
  readonly support: Support;
  /** What it means, in a few words. */
  readonly about: string;
  /** Features without which this one must not be accepted. */
  readonly needs?: readonly string[];
}

export const FEATURE_TABLE = {
  VIRTIO_NET_F_CSUM: { bit: 0, support: 'unsupported', about: 'device completes checksums of sent frames' },
  VIRTIO_NET_F_GUEST_CSUM: {
    bit: 1,
    support: 'unsupported',
    about: 'driver accepts frames with partial checksum',
  },
  VIRTIO_NET_F_CTRL_GUEST_OFFLOADS: {
    bit: 2,
    support: 'unsupported',
    about: 'receive offloads can be changed while running',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
  },
  VIRTIO_NET_F_MTU: { bit: 3, support: 'wanted', about: 'device tells the MTU' },
  VIRTIO_NET_F_MAC: { bit: 5, support: 'wanted', about: 'device tells its MAC address' },
  VIRTIO_NET_F_GUEST_TSO4: {
    bit: 7,
    support: 'unsupported',
    about: 'driver accepts large TCP frames over IPv4',
    needs: ['VIRTIO_NET_F_GUEST_CSUM'],
  },
  VIRTIO_NET_F_GUEST_TSO6: {
    bit: 8,
    support: 'unsupported',
    about: 'driver accepts large TCP frames over IPv6',
    needs: ['VIRTIO_NET_F_GUEST_CSUM'],
  },
  VIRTIO_NET_F_GUEST_ECN: {
    bit: 9,
    support: 'unsupported',
    about: 'driver accepts large TCP frames with ECN',
  },
  VIRTIO_NET_F_GUEST_UFO: {
    bit: 10,
    support: 'unsupported',
    about: 'driver accepts large UDP frames to be fragmented',
    needs: ['VIRTIO_NET_F_GUEST_CSUM'],
  },
  VIRTIO_NET_F_HOST_TSO4: {
    bit: 11,
    support: 'unsupported',
    about: 'device segments TCP over IPv4',
    needs: ['VIRTIO_NET_F_CSUM'],
  },
  VIRTIO_NET_F_HOST_TSO6: {
    bit: 12,
    support: 'unsupported',
    about: 'device segments TCP over IPv6',
    needs: ['VIRTIO_NET_F_CSUM'],
  },
  VIRTIO_NET_F_HOST_ECN: { bit: 13, support: 'unsupported', about: 'device segments TCP with ECN' },
  VIRTIO_NET_F_HOST_UFO: {
    bit: 14,
    support: 'unsupported',
    about: 'device fragments UDP',
    needs: ['VIRTIO_NET_F_CSUM'],
  },
  VIRTIO_NET_F_MRG_RXBUF: {
    bit: 15,
    support: 'unsupported',
    about: 'a received frame may span several buffers',
  },
  VIRTIO_NET_F_STATUS: { bit: 16, support: 'wanted', about: 'device tells the link status' },
  VIRTIO_NET_F_CTRL_VQ: { bit: 17, support: 'unsupported', about: 'there is a control queue' },
  VIRTIO_NET_F_CTRL_RX: {
    bit: 18,
    support: 'unsupported',
    about: 'receive modes can be set',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
  },
  VIRTIO_NET_F_CTRL_VLAN: {
    bit: 19,
    support: 'unsupported',
    about: 'VLANs can be filtered',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
  },
  VIRTIO_NET_F_CTRL_RX_EXTRA: {
    bit: 20,
    support: 'unsupported',
    about: 'more receive modes can be set',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
  },
  VIRTIO_NET_F_GUEST_ANNOUNCE: {
    bit: 21,
    support: 'unsupported',
    about: 'device asks the driver to announce itself',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
  },
  VIRTIO_NET_F_MQ: {
    bit: 22,
    support: 'unsupported',
    about: 'there are several queue pairs',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
  },
  VIRTIO_NET_F_CTRL_MAC_ADDR: {
    bit: 23,
    support: 'unsupported',
    about: 'the MAC address can be set',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
  },
  VIRTIO_F_NOTIFY_ON_EMPTY: {
    bit: 24,
    support: 'unsupported',
    about: 'legacy: interrupt when a queue runs dry',
  },
  VIRTIO_F_ANY_LAYOUT: { bit: 27, support: 'unsupported', about: 'legacy: descriptors in any layout' },
  VIRTIO_F_RING_INDIRECT_DESC: { bit: 28, support: 'unsupported', about: 'indirect descriptor tables' },
  VIRTIO_F_RING_EVENT_IDX: {
    bit: 29,
    support: 'wanted',
    about: 'interrupts and notifications are limited by an event index',
  },
  VIRTIO_F_VERSION_1: { bit: 32, support: 'required', about: 'device follows VIRTIO 1.0 or later' },
  VIRTIO_F_ACCESS_PLATFORM: {
    bit: 33,
    support: 'wanted',
    about: 'device reaches memory through the IOMMU of the platform',
  },
  VIRTIO_F_RING_PACKED: { bit: 34, support: 'wanted', about: 'packed virtqueues' },
  VIRTIO_F_IN_ORDER: { bit: 35, support: 'unsupported', about: 'device uses buffers in order' },
  VIRTIO_F_ORDER_PLATFORM: {
    bit: 36,
    support: 'unsupported',
    about: 'memory accesses are ordered as the platform describes',
  },
  VIRTIO_F_SR_IOV: { bit: 37, support: 'unsupported', about: 'device has virtual functions' },
  VIRTIO_F_NOTIFICATION_DATA: {
    bit: 38,
    support: 'unsupported',
    about: 'notifications carry ring positions',
  },
  VIRTIO_F_NOTIF_CONFIG_DATA: {
    bit: 39,
    support: 'unsupported',
    about: 'notifications carry data that the device chose',
  },
  VIRTIO_F_RING_RESET: { bit: 40, support: 'unsupported', about: 'single queues can be reset' },
  VIRTIO_F_ADMIN_VQ: { bit: 41, support: 'unsupported', about: 'there is an administration queue' },
  VIRTIO_NET_F_DEVICE_STATS: {
    bit: 50,
    support: 'unsupported',
    about: 'device has statistics',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
  },
  VIRTIO_NET_F_HASH_TUNNEL: {
    bit: 51,
    support: 'unsupported',
    about: 'hashes of inner headers',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
  },
  VIRTIO_NET_F_VQ_NOTF_COAL: {
    bit: 52,
    support: 'unsupported',
    about: 'notification coalescing per queue',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
  },
  VIRTIO_NET_F_NOTF_COAL: {
    bit: 53,
    support: 'unsupported',
    about: 'notification coalescing',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
  },
  VIRTIO_NET_F_GUEST_USO4: {
    bit: 54,
    support: 'unsupported',
    about: 'driver accepts large UDP frames over IPv4',
    needs: ['VIRTIO_NET_F_GUEST_CSUM'],
  },
  VIRTIO_NET_F_GUEST_USO6: {
    bit: 55,
    support: 'unsupported',
    about: 'driver accepts large UDP frames over IPv6',
    needs: ['VIRTIO_NET_F_GUEST_CSUM'],
  },
  VIRTIO_NET_F_HOST_USO: {
    bit: 56,
    support: 'unsupported',
    about: 'device segments UDP',
    needs: ['VIRTIO_NET_F_CSUM'],
  },
  VIRTIO_NET_F_HASH_REPORT: {
    bit: 57,
    support: 'unsupported',
    about: 'device reports a hash per frame',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
  },
  VIRTIO_NET_F_GUEST_HDRLEN: {
    bit: 59,
    support: 'unsupported',
    about: 'driver gives exact header lengths',
  },
  VIRTIO_NET_F_RSS: {
    bit: 60,
    support: 'unsupported',
    about: 'receive side scaling',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
  },
  VIRTIO_NET_F_RSC_EXT: {
    bit: 61,
    support: 'unsupported',
    about: 'device reports coalesced segments',
  },
  VIRTIO_NET_F_STANDBY: { bit: 62, support: 'unsupported', about: 'device stands by for another one' },
  VIRTIO_NET_F_SPEED_DUPLEX: { bit: 63, support: 'unsupported', about: 'device tells speed and duplex' },
} as const satisfies Record<string, FeatureEntry>;

/** Name of a feature bit, as in the specification. */
export type FeatureName = keyof typeof FEATURE_TABLE;

/** All names, in the order of their bits. */
export const FEATURE_NAMES = Object.keys(FEATURE_TABLE) as FeatureName[];

/** Whether the text is the name of a feature of the table. */
export function isFeatureName(text: string): text is FeatureName {
  return Object.hasOwn(FEATURE_TABLE, text);
}

/** The table's entry for a feature, in its general type. */
export function featureEntry(name: FeatureName): FeatureEntry {
  return FEATURE_TABLE[name];
}

/** The feature's bit in a feature word. */
export function featureMask(name: FeatureName): bigint {
  return 1n << BigInt(FEATURE_TABLE[name].bit);
}
