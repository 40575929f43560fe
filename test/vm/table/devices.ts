/** The table of devices: every kind of card that QEMU can make, and what is expected of the driver on each. */
import type { DeviceRow } from './device-row.js';
import { row } from './device-row.js';

const MODERN = 'iommu_platform=on,disable-legacy=on';

export const DEVICES: readonly DeviceRow[] = [
  row('split rings', MODERN, {
    expect: { transport: 'pci-modern', has: ['VIRTIO_F_ACCESS_PLATFORM'], lacks: ['VIRTIO_F_RING_PACKED'] },
  }),
  row('packed rings', `${MODERN},packed=on`, { expect: { has: ['VIRTIO_F_RING_PACKED'] } }),
  row('split rings, polled', MODERN, { options: { interrupts: false } }),
  row('tap', MODERN, { nic: { tap: {}, dump: true }, extras: ['tcp', 'tcp6'] }),
  row('tap, MTU 9000', `${MODERN},host_mtu=9000`, { nic: { tap: { mtu: 9000 } }, expect: { mtu: 9000 } }),
];
