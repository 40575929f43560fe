/** Rows of cards that differ as network cards: frames, offloads, queue pairs. */
import { type FeatureName, RECEIVE_OFFLOADS } from 'virtio-net';
import { LEGACY, MODERN, row, type DeviceRow } from './device-row.js';

const TRANSMIT_OFFLOADS = [
  'VIRTIO_NET_F_CSUM',
  'VIRTIO_NET_F_HOST_TSO4',
  'VIRTIO_NET_F_HOST_TSO6',
  'VIRTIO_NET_F_HOST_ECN',
] as const satisfies FeatureName[];
const RECEIVED_LARGE = [
  'VIRTIO_NET_F_GUEST_CSUM',
  'VIRTIO_NET_F_GUEST_TSO4',
  'VIRTIO_NET_F_GUEST_TSO6',
] as const satisfies FeatureName[];

const RECEIVE = { features: { extra: RECEIVE_OFFLOADS } };
const ALL = [...TRANSMIT_OFFLOADS, ...RECEIVED_LARGE];

/** Turns properties of QEMU off. */
const off = (...names: string[]): string => names.map((name) => `,${name}=off`).join('');

const HOST_SEGMENTATION = off('host_tso4', 'host_tso6', 'host_ecn', 'host_ufo');
const GUEST_SEGMENTATION = off('guest_tso4', 'guest_tso6', 'guest_ecn', 'guest_ufo');
const HOST_OFFLOADS = off('csum') + HOST_SEGMENTATION;
const GUEST_OFFLOADS = off('guest_csum') + GUEST_SEGMENTATION;

/** A card that is given nothing but plain, whole frames. */
const PLAIN_CARD = { bind: false, tap: {}, properties: MODERN + HOST_OFFLOADS + GUEST_OFFLOADS } as const;

export const FRAME_ROWS: readonly DeviceRow[] = [
  row('MTU 1500', `${MODERN},host_mtu=1500`, { expect: { mtu: 1500, has: ['VIRTIO_NET_F_MTU'] } }),
  row('MTU 9000', `${MODERN},host_mtu=9000`, { nic: { tap: { mtu: 9000 } }, expect: { mtu: 9000 } }),
  row('MTU 9000, packed rings, no mergeable buffers', `${MODERN},host_mtu=9000,packed=on,mrg_rxbuf=off`, {
    nic: { tap: { mtu: 9000 } },
    expect: { mtu: 9000 },
  }),
  row('legacy, MTU 9000', `${LEGACY},host_mtu=9000`, { nic: { tap: { mtu: 9000 } }, expect: { mtu: 9000 } }),
  row('speed and duplex', `${MODERN},speed=10000,duplex=full`, {
    expect: { has: ['VIRTIO_NET_F_SPEED_DUPLEX'] },
  }),
];

export const OFFLOAD_ROWS: readonly DeviceRow[] = [
  row('no offloads', MODERN + HOST_OFFLOADS + GUEST_OFFLOADS, {
    nic: { tap: {} },
    options: RECEIVE,
    expect: { lacks: ALL },
    extras: ['tcp', 'tcp6'],
  }),
  row('checksums both ways', MODERN + HOST_SEGMENTATION + GUEST_SEGMENTATION, {
    nic: { tap: {} },
    options: RECEIVE,
    expect: { has: ['VIRTIO_NET_F_CSUM', 'VIRTIO_NET_F_GUEST_CSUM'], lacks: ['VIRTIO_NET_F_HOST_TSO4'] },
    extras: ['tcp', 'crossing'],
    other: PLAIN_CARD,
  }),
  row('transmit offloads', MODERN, {
    nic: { tap: {} },
    expect: { has: TRANSMIT_OFFLOADS, lacks: RECEIVED_LARGE },
    extras: ['tcp', 'tcp6', 'crossing'],
    other: PLAIN_CARD,
  }),
  row('receive offloads', MODERN + HOST_OFFLOADS, {
    nic: { tap: {} },
    options: RECEIVE,
    expect: { has: RECEIVED_LARGE, lacks: TRANSMIT_OFFLOADS },
    extras: ['tcp', 'tcp6'],
  }),
  row('all offloads', MODERN, {
    nic: { tap: {} },
    options: RECEIVE,
    expect: { has: [...ALL, 'VIRTIO_NET_F_MRG_RXBUF'] },
    streamMiB: 64,
    extras: ['tcp', 'tcp6'],
  }),
  row('all offloads, packed rings', `${MODERN},packed=on`, {
    nic: { tap: {} },
    options: RECEIVE,
    expect: { has: [...ALL, 'VIRTIO_F_RING_PACKED'] },
    streamMiB: 64,
    extras: ['tcp', 'tcp6'],
  }),
  row('all offloads, large buffers', `${MODERN},mrg_rxbuf=off`, {
    nic: { tap: {} },
    options: RECEIVE,
    expect: { has: ALL, lacks: ['VIRTIO_NET_F_MRG_RXBUF'] },
    extras: ['tcp'],
  }),
  row('all offloads, packed rings, without indirect descriptors', `${MODERN},packed=on,indirect_desc=off`, {
    nic: { tap: {} },
    options: RECEIVE,
    expect: { has: ALL },
    extras: ['tcp'],
  }),
  row('all offloads, legacy', LEGACY, {
    nic: { tap: {} },
    options: RECEIVE,
    expect: { transport: 'pci-legacy', has: ALL },
    extras: ['tcp', 'tcp6'],
  }),
  row('all offloads, MTU 9000', `${MODERN},host_mtu=9000`, {
    nic: { tap: { mtu: 9000 } },
    options: RECEIVE,
    expect: { has: ALL, mtu: 9000 },
    extras: ['tcp'],
  }),
];

/** QEMU does not record the wire of a card with several queues. */
const FOUR_QUEUES = { tap: { queues: 4 }, dump: false } as const;
const FOUR_PAIRS = { queuePairs: 4 } as const;
const HASHED: readonly FeatureName[] = ['VIRTIO_NET_F_RSS', 'VIRTIO_NET_F_HASH_REPORT'];

export const QUEUE_ROWS: readonly DeviceRow[] = [
  row('four queue pairs', `${MODERN},mq=on,vectors=10`, {
    nic: FOUR_QUEUES,
    options: FOUR_PAIRS,
    expect: { has: ['VIRTIO_NET_F_MQ'], queuePairs: 4 },
    extras: ['pairs', 'queue-reset'],
  }),
  row('four queue pairs, packed rings, polled', `${MODERN},mq=on,vectors=10,packed=on`, {
    nic: FOUR_QUEUES,
    options: { ...FOUR_PAIRS, interrupts: false },
    expect: { has: ['VIRTIO_NET_F_MQ'], queuePairs: 4 },
    extras: ['pairs'],
  }),
  row('four queue pairs, three vectors', `${MODERN},mq=on,vectors=3`, {
    nic: FOUR_QUEUES,
    options: FOUR_PAIRS,
    expect: { queuePairs: 4 },
    extras: ['pairs'],
  }),
  row('two of four queue pairs, legacy', `${LEGACY},mq=on,vectors=10`, {
    nic: FOUR_QUEUES,
    options: { queuePairs: 2 },
    expect: { transport: 'pci-legacy', queuePairs: 2 },
    extras: ['pairs'],
  }),
  row('one of four queue pairs', `${MODERN},mq=on,vectors=10`, {
    nic: FOUR_QUEUES,
    expect: { queuePairs: 1 },
  }),
  row('receive side scaling', `${MODERN},mq=on,vectors=10,rss=on`, {
    nic: FOUR_QUEUES,
    options: { ...FOUR_PAIRS, interrupts: false, features: { extra: ['VIRTIO_NET_F_RSS'] } },
    expect: { has: ['VIRTIO_NET_F_RSS'], queuePairs: 4 },
    extras: ['steering'],
  }),
  row('receive side scaling with hashes', `${MODERN},mq=on,vectors=10,rss=on,hash=on,packed=on`, {
    nic: FOUR_QUEUES,
    options: { ...FOUR_PAIRS, interrupts: false, features: { extra: HASHED } },
    expect: { has: HASHED, queuePairs: 4 },
    extras: ['steering'],
  }),
  row('hashes, all offloads', `${MODERN},hash=on`, {
    nic: { tap: {} },
    options: { features: { extra: [...RECEIVE_OFFLOADS, 'VIRTIO_NET_F_HASH_REPORT'] } },
    expect: { has: ['VIRTIO_NET_F_HASH_REPORT', ...ALL] },
    extras: ['tcp'],
  }),
  row('filters', MODERN, {
    nic: { netdev: 'hubport,hubid=7' },
    other: { bind: false, netdev: 'hubport,hubid=7', properties: MODERN },
    options: { features: { extra: ['VIRTIO_NET_F_CTRL_VLAN'] } },
    machineArguments: ['-netdev', 'user,id=router', '-netdev', 'hubport,id=routerport,hubid=7,netdev=router'],
    expect: { has: ['VIRTIO_NET_F_CTRL_RX', 'VIRTIO_NET_F_CTRL_VLAN', 'VIRTIO_NET_F_CTRL_MAC_ADDR'] },
    extras: ['filters'],
  }),
];

/**
 * testpmd takes the place of a neighbour who answers; the wire behind a socket can not be recorded. QEMU leaves
 * interrupts by MSI-X for vhost-user to KVM, and crashes without it when a vector is masked, so there are none here.
 * Behind the vIOMMU there are split rings alone: on packed ones frames get lost with the kernel's driver as well.
 */
const VHOST = { vhostQueues: 1, dump: false } as const;
const VHOST_CARD = 'disable-legacy=on,iommu_platform=off,vectors=0';
const VHOST_IOMMU_CARD = `${MODERN},vectors=0`;

export const VHOST_ROWS: readonly DeviceRow[] = [
  row('DPDK vhost, split rings', VHOST_CARD, { machine: 'dpdk', nic: VHOST }),
  row('DPDK vhost, split rings of 1024, polled', `${VHOST_CARD},rx_queue_size=1024,tx_queue_size=1024`, {
    machine: 'dpdk',
    nic: VHOST,
    options: { interrupts: false, queueSize: 1024 },
  }),
  row('DPDK vhost, packed rings', `${VHOST_CARD},packed=on`, {
    machine: 'dpdk',
    nic: VHOST,
    expect: { has: ['VIRTIO_F_RING_PACKED'] },
  }),
  row('DPDK vhost, packed rings, polled', `${VHOST_CARD},packed=on`, {
    machine: 'dpdk',
    nic: VHOST,
    options: { interrupts: false },
    expect: { has: ['VIRTIO_F_RING_PACKED'] },
  }),
  row('DPDK vhost, behind the vIOMMU', VHOST_IOMMU_CARD, {
    machine: 'dpdk',
    nic: VHOST,
    expect: { has: ['VIRTIO_F_ACCESS_PLATFORM'] },
  }),
];
