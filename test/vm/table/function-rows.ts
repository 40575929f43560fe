/** Rows of cards that differ as PCI functions and as virtio devices: interface, rings, interrupts, place, addresses. */
import { LEGACY, MODERN, row, TRANSITIONAL, type DeviceRow } from './device-row.js';

/** A device that does not go through the vIOMMU reads physical addresses. */
const BYPASSES = { lacks: ['VIRTIO_F_ACCESS_PLATFORM'] } as const;
const LEGACY_ONE = {
  transport: 'pci-legacy',
  lacks: ['VIRTIO_F_VERSION_1', 'VIRTIO_F_RING_PACKED'],
} as const;

/** Without the features that need a control queue; QEMU does not see to that itself. */
const NO_CONTROL =
  ',ctrl_vq=off,ctrl_rx=off,ctrl_vlan=off,ctrl_rx_extra=off,ctrl_mac_addr=off,ctrl_guest_offloads=off,guest_announce=off';

export const INTERFACE_ROWS: readonly DeviceRow[] = [
  row('modern', MODERN, {
    expect: {
      transport: 'pci-modern',
      has: [
        'VIRTIO_F_VERSION_1',
        'VIRTIO_F_ACCESS_PLATFORM',
        'VIRTIO_F_RING_EVENT_IDX',
        'VIRTIO_F_RING_INDIRECT_DESC',
        'VIRTIO_F_RING_RESET',
        'VIRTIO_NET_F_MRG_RXBUF',
        'VIRTIO_NET_F_STATUS',
        'VIRTIO_NET_F_CTRL_VQ',
      ],
      lacks: ['VIRTIO_F_RING_PACKED'],
    },
    extras: ['queue-reset'],
  }),
  row('modern, packed rings', `${MODERN},packed=on`, {
    expect: { transport: 'pci-modern', has: ['VIRTIO_F_RING_PACKED'] },
    extras: ['queue-reset'],
  }),
  row('modern, polled', MODERN, { options: { interrupts: false } }),
  row('modern, packed rings, polled', `${MODERN},packed=on`, { options: { interrupts: false } }),
  row('modern, physical addresses', 'disable-legacy=on,iommu_platform=off', {
    options: { hugePages: 'never' },
    expect: { transport: 'pci-modern', ...BYPASSES },
  }),
  row('modern, packed rings, physical addresses', 'disable-legacy=on,iommu_platform=off,packed=on', {
    expect: { transport: 'pci-modern', has: ['VIRTIO_F_RING_PACKED'], ...BYPASSES },
  }),
  row('transitional', TRANSITIONAL, {
    expect: { transport: 'pci-modern', has: ['VIRTIO_F_VERSION_1'], ...BYPASSES },
  }),
  row('transitional, through its legacy interface', TRANSITIONAL, {
    options: { pciInterface: 'legacy' },
    expect: LEGACY_ONE,
  }),
  row('legacy', LEGACY, { expect: { ...LEGACY_ONE, has: ['VIRTIO_NET_F_MRG_RXBUF'] } }),
  row('legacy, without mergeable buffers', `${LEGACY},mrg_rxbuf=off`, {
    expect: { ...LEGACY_ONE, lacks: ['VIRTIO_NET_F_MRG_RXBUF'] },
  }),
  row('legacy, descriptors in one layout only', `${LEGACY},mrg_rxbuf=off,any_layout=off`, {
    expect: { ...LEGACY_ONE, lacks: ['VIRTIO_F_ANY_LAYOUT'] },
  }),
  row('legacy, without an event index', `${LEGACY},event_idx=off`, { expect: LEGACY_ONE }),
  row('legacy, receive ring of 1024', `${LEGACY},rx_queue_size=1024`, { expect: LEGACY_ONE }),
  row('legacy, INTx', `${LEGACY},vectors=0`, { expect: LEGACY_ONE }),
  row('legacy, polled', LEGACY, { options: { interrupts: false }, expect: LEGACY_ONE }),
];

export const RING_ROWS: readonly DeviceRow[] = [
  row('without an event index', `${MODERN},event_idx=off`, {
    expect: { lacks: ['VIRTIO_F_RING_EVENT_IDX'] },
  }),
  row('packed rings, without an event index', `${MODERN},packed=on,event_idx=off`, {
    expect: { has: ['VIRTIO_F_RING_PACKED'], lacks: ['VIRTIO_F_RING_EVENT_IDX'] },
  }),
  row('without indirect descriptors', `${MODERN},indirect_desc=off`, {
    expect: { lacks: ['VIRTIO_F_RING_INDIRECT_DESC'] },
  }),
  row('without mergeable buffers', `${MODERN},mrg_rxbuf=off`, {
    expect: { lacks: ['VIRTIO_NET_F_MRG_RXBUF'] },
  }),
  row('without resets of queues', `${MODERN},queue_reset=off`, {
    expect: { lacks: ['VIRTIO_F_RING_RESET'] },
  }),
  row(
    'the least there is',
    `${MODERN},event_idx=off,indirect_desc=off,mrg_rxbuf=off,queue_reset=off,status=off${NO_CONTROL}`,
    {
      expect: { lacks: ['VIRTIO_NET_F_CTRL_VQ', 'VIRTIO_NET_F_STATUS', 'VIRTIO_F_RING_INDIRECT_DESC'] },
    },
  ),
  row('features without what they need', `${MODERN},ctrl_vq=off`, {
    expect: { lacks: ['VIRTIO_NET_F_CTRL_VQ', 'VIRTIO_NET_F_CTRL_RX', 'VIRTIO_NET_F_CTRL_MAC_ADDR'] },
    without: {
      kernel: 'the kernel’s driver refuses a card with features that need a control queue, and none',
    },
  }),
  row('rings of 64', MODERN, { options: { queueSize: 64 } }),
  row('rings of 128, packed', `${MODERN},packed=on`, { options: { queueSize: 128 } }),
  row('receive ring of 512', `${MODERN},rx_queue_size=512`),
  row('receive ring of 1024, packed', `${MODERN},packed=on,rx_queue_size=1024`),
];

export const INTERRUPT_ROWS: readonly DeviceRow[] = [
  row('INTx', `${MODERN},vectors=0`),
  row('INTx, packed rings', `${MODERN},packed=on,vectors=0`),
  row('INTx though there are vectors', MODERN, { options: { interruptMode: 'intx' } }),
  row('one vector', `${MODERN},vectors=1`),
  row('two vectors', `${MODERN},vectors=2`),
  row('three vectors', `${MODERN},vectors=3`),
];

/** A slot that no card gets by its number. */
const TWO_FUNCTIONS = { bind: 'none', dump: true } as const;

export const PLACE_ROWS: readonly DeviceRow[] = [
  row('behind a root port', `${MODERN},bus=rootport,addr=0.0`, {
    nic: { address: '0000:01:00.0' },
    machineArguments: ['-device', 'pcie-root-port,id=rootport,bus=pcie.0,chassis=1,addr=1d.0'],
  }),
  row('first function of a slot', `${MODERN},addr=1e.0,multifunction=on`, {
    nic: { ...TWO_FUNCTIONS, address: '0000:00:1e.0' },
    other: { bind: 'none', properties: `${MODERN},addr=1e.1`, address: '0000:00:1e.1' },
    extras: ['siblings'],
    without: { kernel: 'two functions of a slot are one group, of which the kernel’s driver may have none' },
  }),
  row('a notification page for each queue', `${MODERN},page-per-vq=on`),
  row('notifications through I/O space', `${MODERN},modern-pio-notify=on`),
];

export const ADDRESS_ROWS: readonly DeviceRow[] = [
  row('no IOMMU', 'disable-legacy=on', {
    machine: 'no-iommu',
    options: { hugePages: 'never' },
    expect: BYPASSES,
  }),
  row('no IOMMU, huge pages', 'disable-legacy=on', {
    machine: 'no-iommu',
    options: { hugePages: '2M' },
    expect: BYPASSES,
  }),
  row('no IOMMU, packed rings', 'disable-legacy=on,packed=on', {
    machine: 'no-iommu',
    expect: { has: ['VIRTIO_F_RING_PACKED'] },
  }),
  row('no IOMMU, legacy', LEGACY, { machine: 'no-iommu', expect: LEGACY_ONE }),
  row('no IOMMU, transitional, INTx', `${TRANSITIONAL},vectors=0`, { machine: 'no-iommu' }),
  row('no IOMMU, MTU 9000', 'disable-legacy=on,host_mtu=9000', {
    machine: 'no-iommu',
    nic: { tap: { mtu: 9000 } },
    expect: { mtu: 9000 },
  }),
  row('no IOMMU, all offloads', 'disable-legacy=on', {
    machine: 'no-iommu',
    nic: { tap: {} },
    options: {
      features: {
        extra: ['VIRTIO_NET_F_GUEST_CSUM', 'VIRTIO_NET_F_GUEST_TSO4', 'VIRTIO_NET_F_GUEST_TSO6'],
      },
    },
    streamMiB: 64,
    extras: ['tcp'],
  }),
];
