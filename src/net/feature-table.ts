/**
 * The feature bits that a virtio network device may offer, as data (VIRTIO 1.3, 5.1.3 and 6; the bits from 43 on that
 * later drafts added are there too, so that an offer can be read in words).
 *
 * Negotiation is derived from this table: to teach the driver a feature, change its `support` here.
 */

/** What the driver does with a feature. */
export type Support =
  /** The driver can not work without it. */
  | 'required'
  /** The driver uses it where the device offers it. */
  | 'wanted'
  /** The driver supports it, and uses it where the program asks for it and the device offers it. */
  | 'optional'
  /** The driver does not use it. */
  | 'unsupported';

interface FeatureFacts {
  /** Number of the feature bit. */
  readonly bit: number;
  /** Where the specification describes it. */
  readonly section: string;
  /** What it means, in a few words. */
  readonly about: string;
  /** Features without any of which this one must not be accepted (5.1.3.1). */
  readonly needs?: readonly string[];
  /** Features without at least one of which this one must not be accepted (5.1.3.1). */
  readonly needsAny?: readonly string[];
  /** The interface that it belongs to, if only one: legacy (virtio 0.9.5), or modern. */
  readonly only?: 'legacy' | 'modern';
}

interface UsedFeature extends FeatureFacts {
  readonly support: Exclude<Support, 'unsupported'>;
}

interface UnusedFeature extends FeatureFacts {
  readonly support: 'unsupported';
  /** Why the driver does not use it, in a sentence. */
  readonly why: string;
}

export type FeatureEntry = UsedFeature | UnusedFeature;

export const FEATURE_TABLE = {
  VIRTIO_NET_F_CSUM: {
    bit: 0,
    section: '5.1.6.2',
    support: 'wanted',
    about: 'device completes the checksums of sent frames',
  },
  VIRTIO_NET_F_GUEST_CSUM: {
    bit: 1,
    section: '5.1.6.4',
    support: 'optional',
    about: 'received frames may come with a partial checksum',
  },
  VIRTIO_NET_F_CTRL_GUEST_OFFLOADS: {
    bit: 2,
    section: '5.1.6.5.8',
    support: 'wanted',
    about: 'receive offloads can be changed while running',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
  },
  VIRTIO_NET_F_MTU: { bit: 3, section: '5.1.4', support: 'wanted', about: 'device tells the MTU' },
  VIRTIO_NET_F_MAC: { bit: 5, section: '5.1.4', support: 'wanted', about: 'device tells its MAC address' },
  VIRTIO_NET_F_GSO: {
    bit: 6,
    section: '5.1.3.2',
    support: 'unsupported',
    why: 'One bit for what has a bit for each protocol today.',
    about: 'legacy: device segments frames of any kind',
    only: 'legacy',
  },
  VIRTIO_NET_F_GUEST_TSO4: {
    bit: 7,
    section: '5.1.6.4',
    support: 'optional',
    about: 'received TCP over IPv4 may come unsegmented',
    needs: ['VIRTIO_NET_F_GUEST_CSUM'],
  },
  VIRTIO_NET_F_GUEST_TSO6: {
    bit: 8,
    section: '5.1.6.4',
    support: 'optional',
    about: 'received TCP over IPv6 may come unsegmented',
    needs: ['VIRTIO_NET_F_GUEST_CSUM'],
  },
  VIRTIO_NET_F_GUEST_ECN: {
    bit: 9,
    section: '5.1.6.4',
    support: 'optional',
    about: 'unsegmented TCP may carry ECN',
    needsAny: ['VIRTIO_NET_F_GUEST_TSO4', 'VIRTIO_NET_F_GUEST_TSO6'],
  },
  VIRTIO_NET_F_GUEST_UFO: {
    bit: 10,
    section: '5.1.6.4',
    support: 'optional',
    about: 'received UDP may come unfragmented',
    needs: ['VIRTIO_NET_F_GUEST_CSUM'],
  },
  VIRTIO_NET_F_HOST_TSO4: {
    bit: 11,
    section: '5.1.6.2',
    support: 'wanted',
    about: 'device segments TCP over IPv4',
    needs: ['VIRTIO_NET_F_CSUM'],
  },
  VIRTIO_NET_F_HOST_TSO6: {
    bit: 12,
    section: '5.1.6.2',
    support: 'wanted',
    about: 'device segments TCP over IPv6',
    needs: ['VIRTIO_NET_F_CSUM'],
  },
  VIRTIO_NET_F_HOST_ECN: {
    bit: 13,
    section: '5.1.6.2',
    support: 'wanted',
    about: 'device segments TCP with ECN',
    needsAny: ['VIRTIO_NET_F_HOST_TSO4', 'VIRTIO_NET_F_HOST_TSO6'],
  },
  VIRTIO_NET_F_HOST_UFO: {
    bit: 14,
    section: '5.1.6.2',
    support: 'optional',
    about: 'device fragments UDP',
    needs: ['VIRTIO_NET_F_CSUM'],
  },
  VIRTIO_NET_F_MRG_RXBUF: {
    bit: 15,
    section: '5.1.6.4',
    support: 'wanted',
    about: 'a received frame may span several buffers',
  },
  VIRTIO_NET_F_STATUS: {
    bit: 16,
    section: '5.1.4',
    support: 'wanted',
    about: 'device tells the link status',
  },
  VIRTIO_NET_F_CTRL_VQ: {
    bit: 17,
    section: '5.1.6.5',
    support: 'wanted',
    about: 'there is a control queue',
  },
  VIRTIO_NET_F_CTRL_RX: {
    bit: 18,
    section: '5.1.6.5.1',
    support: 'wanted',
    about: 'receive modes and the MAC filter can be set',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
  },
  VIRTIO_NET_F_CTRL_VLAN: {
    bit: 19,
    section: '5.1.6.5.3',
    support: 'optional',
    about: 'VLANs can be filtered',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
  },
  VIRTIO_NET_F_CTRL_RX_EXTRA: {
    bit: 20,
    section: '5.1.6.5.1',
    support: 'wanted',
    about: 'more receive modes can be set',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
  },
  VIRTIO_NET_F_GUEST_ANNOUNCE: {
    bit: 21,
    section: '5.1.6.5.4',
    support: 'wanted',
    about: 'device asks the driver to announce itself',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
  },
  VIRTIO_NET_F_MQ: {
    bit: 22,
    section: '5.1.6.5.6',
    support: 'wanted',
    about: 'there are several queue pairs',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
  },
  VIRTIO_NET_F_CTRL_MAC_ADDR: {
    bit: 23,
    section: '5.1.6.5.2',
    support: 'wanted',
    about: 'the MAC address can be set',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
  },
  VIRTIO_F_NOTIFY_ON_EMPTY: {
    bit: 24,
    section: '6.3',
    support: 'unsupported',
    why: 'The driver asks for the interrupts that it needs.',
    about: 'legacy: interrupt when a queue runs dry, whatever was asked for',
    only: 'legacy',
  },
  VIRTIO_F_ANY_LAYOUT: {
    bit: 27,
    section: '6.3',
    support: 'wanted',
    about: 'legacy: header and frame may share a buffer',
    only: 'legacy',
  },
  VIRTIO_F_RING_INDIRECT_DESC: {
    bit: 28,
    section: '2.7.5.3, 2.8.7',
    support: 'wanted',
    about: 'indirect descriptor tables',
  },
  VIRTIO_F_RING_EVENT_IDX: {
    bit: 29,
    section: '2.7.7, 2.7.10, 2.8.10',
    support: 'wanted',
    about: 'interrupts and notifications are limited by an event index',
  },
  VIRTIO_F_VERSION_1: {
    bit: 32,
    section: '6',
    support: 'required',
    about: 'device follows VIRTIO 1.0 or later',
    only: 'modern',
  },
  VIRTIO_F_ACCESS_PLATFORM: {
    bit: 33,
    section: '6',
    support: 'wanted',
    about: 'device reaches memory through the IOMMU of the platform',
  },
  VIRTIO_F_RING_PACKED: { bit: 34, section: '2.8', support: 'wanted', about: 'packed virtqueues' },
  VIRTIO_F_IN_ORDER: {
    bit: 35,
    section: '2.7.9, 2.8.8',
    support: 'wanted',
    about: 'device uses buffers in order',
  },
  VIRTIO_F_ORDER_PLATFORM: {
    bit: 36,
    section: '6',
    support: 'wanted',
    about: 'memory accesses are ordered as the platform describes',
  },
  VIRTIO_F_SR_IOV: {
    bit: 37,
    section: '6',
    support: 'unsupported',
    why: 'Creating virtual functions is the matter of the kernel driver that the card leaves.',
    about: 'device has virtual functions',
  },
  VIRTIO_F_NOTIFICATION_DATA: {
    bit: 38,
    section: '2.9',
    support: 'wanted',
    about: 'notifications carry ring positions',
  },
  VIRTIO_F_NOTIF_CONFIG_DATA: {
    bit: 39,
    section: '4.1.5.2',
    support: 'wanted',
    about: 'notifications carry data that the device chose',
  },
  VIRTIO_F_RING_RESET: {
    bit: 40,
    section: '2.6.1',
    support: 'wanted',
    about: 'single queues can be reset',
  },
  VIRTIO_F_ADMIN_VQ: {
    bit: 41,
    section: '2.13',
    support: 'unsupported',
    why: 'It manages groups of devices, flow filters and capabilities, not the frames of this one.',
    about: 'there is an administration queue',
  },
  VIRTIO_F_SUSPEND: {
    bit: 43,
    section: 'later than 1.3',
    support: 'unsupported',
    why: 'A device at rest is reset: nothing of it needs to outlive that.',
    about: 'device can be suspended',
  },
  VIRTIO_NET_F_DEVICE_STATS: {
    bit: 50,
    section: '5.1.6.5.10',
    support: 'wanted',
    about: 'device has statistics',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
  },
  VIRTIO_NET_F_HASH_TUNNEL: {
    bit: 51,
    section: '5.1.6.4.4',
    support: 'optional',
    about: 'hashes of inner headers',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
    needsAny: ['VIRTIO_NET_F_RSS', 'VIRTIO_NET_F_HASH_REPORT'],
  },
  VIRTIO_NET_F_VQ_NOTF_COAL: {
    bit: 52,
    section: '5.1.6.5.9',
    support: 'wanted',
    about: 'notification coalescing per queue',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
  },
  VIRTIO_NET_F_NOTF_COAL: {
    bit: 53,
    section: '5.1.6.5.9',
    support: 'wanted',
    about: 'notification coalescing',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
  },
  VIRTIO_NET_F_GUEST_USO4: {
    bit: 54,
    section: '5.1.6.4',
    support: 'optional',
    about: 'received UDP over IPv4 may come unsegmented',
    needs: ['VIRTIO_NET_F_GUEST_CSUM'],
  },
  VIRTIO_NET_F_GUEST_USO6: {
    bit: 55,
    section: '5.1.6.4',
    support: 'optional',
    about: 'received UDP over IPv6 may come unsegmented',
    needs: ['VIRTIO_NET_F_GUEST_CSUM'],
  },
  VIRTIO_NET_F_HOST_USO: {
    bit: 56,
    section: '5.1.6.2',
    support: 'wanted',
    about: 'device segments UDP',
    needs: ['VIRTIO_NET_F_CSUM'],
  },
  VIRTIO_NET_F_HASH_REPORT: {
    bit: 57,
    section: '5.1.6.4.5',
    support: 'optional',
    about: 'device reports a hash per frame',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
  },
  VIRTIO_NET_F_GUEST_HDRLEN: {
    bit: 59,
    section: '5.1.6.2',
    support: 'wanted',
    about: 'driver gives exact header lengths',
  },
  VIRTIO_NET_F_RSS: {
    bit: 60,
    section: '5.1.6.5.7',
    support: 'optional',
    about: 'receive side scaling',
    needs: ['VIRTIO_NET_F_CTRL_VQ'],
  },
  VIRTIO_NET_F_RSC_EXT: {
    bit: 61,
    section: '5.1.6.4',
    support: 'optional',
    about: 'device reports coalesced segments',
    needsAny: ['VIRTIO_NET_F_HOST_TSO4', 'VIRTIO_NET_F_HOST_TSO6'],
  },
  VIRTIO_NET_F_STANDBY: {
    bit: 62,
    section: '5.1.4',
    support: 'unsupported',
    why: 'Whoever takes it stands by for another card; doing so is the matter of the program that has both.',
    about: 'device stands by for another one',
  },
  VIRTIO_NET_F_SPEED_DUPLEX: {
    bit: 63,
    section: '5.1.4',
    support: 'wanted',
    about: 'device tells speed and duplex',
  },
  VIRTIO_NET_F_RSS_CONTEXT: {
    bit: 64,
    section: 'later than 1.3',
    support: 'unsupported',
    why: 'They are chosen by flow filters, which need an administration queue.',
    about: 'several sets of RSS parameters',
    needs: ['VIRTIO_NET_F_CTRL_VQ', 'VIRTIO_NET_F_RSS'],
  },
  VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO: {
    bit: 65,
    section: 'later than 1.3',
    support: 'unsupported',
    why: 'Its header has fields that VIRTIO 1.3 does not have.',
    about: 'received tunnelled frames may come unsegmented',
    needs: [
      'VIRTIO_NET_F_GUEST_TSO4',
      'VIRTIO_NET_F_GUEST_TSO6',
      'VIRTIO_NET_F_GUEST_USO4',
      'VIRTIO_NET_F_GUEST_USO6',
    ],
  },
  VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM: {
    bit: 66,
    section: 'later than 1.3',
    support: 'unsupported',
    why: 'Its header has fields that VIRTIO 1.3 does not have.',
    about: 'their outer header may have a partial checksum',
    needs: ['VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO'],
  },
  VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO: {
    bit: 67,
    section: 'later than 1.3',
    support: 'unsupported',
    why: 'Its header has fields that VIRTIO 1.3 does not have.',
    about: 'device segments frames in a tunnel',
    needs: ['VIRTIO_NET_F_HOST_TSO4', 'VIRTIO_NET_F_HOST_TSO6', 'VIRTIO_NET_F_HOST_USO'],
  },
  VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM: {
    bit: 68,
    section: 'later than 1.3',
    support: 'unsupported',
    why: 'Its header has fields that VIRTIO 1.3 does not have.',
    about: 'device completes the checksum of their outer header',
    needs: ['VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO'],
  },
  VIRTIO_NET_F_OUT_NET_HEADER: {
    bit: 69,
    section: 'later than 1.3',
    support: 'unsupported',
    why: 'Its header has fields that VIRTIO 1.3 does not have.',
    about: 'driver tells where the outer network header starts',
  },
  VIRTIO_NET_F_IPSEC: {
    bit: 70,
    section: 'later than 1.3',
    support: 'unsupported',
    why: 'Its keys are set through an administration queue.',
    about: 'device encrypts with IPsec',
  },
} as const satisfies Record<string, FeatureEntry>;

/** Name of a feature bit, as in the specification. */
export type FeatureName = keyof typeof FEATURE_TABLE;

/** All names, in the order of their bits. */
export const FEATURE_NAMES = Object.keys(FEATURE_TABLE) as FeatureName[];

/**
 * What a device may leave to the receiver to complete: partial checksums, and frames beyond the MTU. A program that
 * does not ask for these gets whole frames with complete checksums.
 */
export const RECEIVE_OFFLOADS = [
  'VIRTIO_NET_F_GUEST_CSUM',
  'VIRTIO_NET_F_GUEST_TSO4',
  'VIRTIO_NET_F_GUEST_TSO6',
  'VIRTIO_NET_F_GUEST_ECN',
  'VIRTIO_NET_F_GUEST_USO4',
  'VIRTIO_NET_F_GUEST_USO6',
] as const satisfies readonly FeatureName[];

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

/** The features that the entry needs, as sentences need them: all of one list, one of the other. */
export function unmetNeeds(name: FeatureName, bits: bigint): string[] {
  const { needs = [], needsAny = [] } = featureEntry(name);
  const has = (need: string): boolean => isFeatureName(need) && (bits & featureMask(need)) !== 0n;
  const unmet = needs.filter((need) => !has(need));
  return needsAny.length === 0 || needsAny.some(has) ? unmet : [...unmet, needsAny.join(' or ')];
}
