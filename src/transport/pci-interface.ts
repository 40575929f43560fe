/** Choosing between the modern and the legacy interface of a PCI device (VIRTIO 1.3, 4.1.2 and 4.1.5.1.1). */
import { PciError } from '../errors.js';
import { CONFIG_SPACE } from '../pci/config-space.js';
import { TRANSITIONAL_NET_DEVICE_ID } from '../pci/identify.js';
import type { PciFunction } from '../pci/pci-function.js';
import { LegacyPciTransport } from './legacy-pci.js';
import { ModernPciTransport, type ModernPciOptions } from './modern-pci.js';
import type { Transport } from './transport.js';
import { hasVirtioStructures } from './virtio-capabilities.js';

/** The interface to drive a device through: `auto` takes the modern one of a device that has both. */
export type PciInterface = 'auto' | 'modern' | 'legacy';

/** Bit of a base address register: it is one of I/O ports. */
const IO_BAR = 1;

/**
 * Makes the transport that drives a virtio device.
 *
 * The function becomes the transport's when this returns; where it throws, it stays with the caller, open.
 *
 * @throws PciError PCI_INTERFACE_ABSENT, PCI_CAPABILITY_INVALID, and what opening a BAR throws
 */
export function makePciTransport(
  pciFunction: PciFunction,
  {
    pciInterface = 'auto',
    ...options
  }: ModernPciOptions & { readonly pciInterface?: PciInterface | undefined },
): Transport {
  const { address } = pciFunction;
  // A device without any has the legacy interface alone; one whose structures make no sense is not driven around them.
  const legacy = pciInterface === 'legacy' || (pciInterface === 'auto' && !hasVirtioStructures(pciFunction));
  if (!legacy) return new ModernPciTransport(pciFunction, options);
  const lack = lackOfLegacy(pciFunction);
  if (lack === undefined) return new LegacyPciTransport(pciFunction, options);
  const other = pciInterface === 'legacy' ? '' : 'no virtio structures, and ';
  throw new PciError('PCI_INTERFACE_ABSENT', `${address} has ${other}no legacy interface: ${lack}`, {
    remedy:
      pciInterface === 'legacy'
        ? "Leave { pciInterface } at 'auto', or give the device its legacy interface (in QEMU, disable-legacy=off)."
        : 'The device or the hypervisor is at fault; report it with the output of lspci -vvv -s ADDRESS.',
  });
}

/** What shows that a device has no legacy interface; undefined where it has one. */
function lackOfLegacy(pciFunction: PciFunction): string | undefined {
  const deviceId = pciFunction.readConfig(CONFIG_SPACE.DEVICE_ID, 2);
  if (deviceId !== TRANSITIONAL_NET_DEVICE_ID) {
    return `its device id is ${deviceId.toString(16)}, not ${TRANSITIONAL_NET_DEVICE_ID.toString(16)}`;
  }
  const revision = pciFunction.readConfig(CONFIG_SPACE.REVISION, 1);
  if (revision !== 0) return `its revision is ${revision}, not 0`;
  const isIo = (pciFunction.readConfig(CONFIG_SPACE.BAR_0, 4) & IO_BAR) !== 0;
  return isIo && pciFunction.barSize(0) > 0 ? undefined : 'its BAR 0 is not one of I/O ports';
}
