/** Telling a virtio network card from other PCI devices (VIRTIO 1.3, 4.1.2). */
import { PciError } from '../errors.js';
import type { PciDevice } from './sysfs.js';

/** The PCI vendor id of all virtio devices. */
export const VIRTIO_VENDOR_ID = 0x1af4;
/** PCI device id of a network card with the modern interface alone: 0x1040 and the virtio device id, 1. */
export const MODERN_NET_DEVICE_ID = 0x1041;
/** PCI device id of a network card with the legacy interface, and in most cases the modern one as well. */
export const TRANSITIONAL_NET_DEVICE_ID = 0x1000;

/**
 * Checks that the device is a virtio network card. Revision and subsystem ids do not matter.
 *
 * A transitional card passes: which interface it has shows in its capabilities only.
 *
 * @throws PciError PCI_NOT_VIRTIO_NET, whose message says what the device is
 */
export function checkVirtioNet(device: PciDevice): void {
  const isVirtio = device.vendorId === VIRTIO_VENDOR_ID;
  const isNet = device.deviceId === MODERN_NET_DEVICE_ID || device.deviceId === TRANSITIONAL_NET_DEVICE_ID;
  if (isVirtio && isNet) return;
  const other = isVirtio ? 'a virtio device of another kind' : 'not a virtio device';
  throw new PciError('PCI_NOT_VIRTIO_NET', `${device.address} is ${other}: ${idsOf(device)}`);
}

function idsOf(device: PciDevice): string {
  const driver = device.driver === undefined ? 'no driver' : `driver ${device.driver}`;
  return `${hex(device.vendorId, 4)}:${hex(device.deviceId, 4)}, class ${hex(device.classCode, 6)}, ${driver}`;
}

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
