/** Taking a PCI device from the kernel's driver for VFIO. */
import { PciError } from '../errors.js';
import type { Logger } from '../log.js';
import { messageOf } from './attributes.js';
import { DeviceBinding, VFIO_PCI, type BindContext, type VfioBinding } from './device-binding.js';
import { waitForGroupNode, type GroupNodeOptions } from './group-node.js';
import { inTurn } from './in-turn.js';
import { LINUX_KERNEL, type KernelControls } from './kernel-controls.js';
import { findPciDevice, SYSFS_ROOT, type PciDevice, type SysfsOptions } from './sysfs.js';
import { ensureVfioPci } from './vfio-modules.js';

export type { VfioBinding } from './device-binding.js';

/** How to bind a device to vfio-pci. */
export interface BindOptions extends SysfsOptions, GroupNodeOptions {
  readonly log: Logger;
  /** Take the device even if its network interface is up; false unless told. */
  readonly takeOver?: boolean | undefined;
  /** The kernel to act upon; another one is for tests. */
  readonly kernel?: KernelControls | undefined;
}

/**
 * Binds a device to vfio-pci and waits for the file of its IOMMU group. Whatever fails halfway, the device
 * ends with the driver that it had.
 *
 * @param address - in the form that `parsePciAddress()` gives
 * @throws PciError PCI_NO_SUCH_DEVICE, PCI_INTERFACE_UP, PCI_PERMISSION_DENIED, PCI_BIND_FAILED
 * @throws VfioError VFIO_IOMMU_ABSENT
 * @throws the reason of `signal`
 */
export function bindToVfio(address: string, options: BindOptions): Promise<VfioBinding> {
  return inTurn(address, () => bindNow(address, options), options.signal);
}

async function bindNow(address: string, options: BindOptions): Promise<VfioBinding> {
  const device = await findPciDevice(address, options);
  const context = contextOf(options);
  const binding = new DeviceBinding(device, context);
  // Bound already, its group file is there, or never will be: opening the device says what is wrong then.
  if (device.driver === VFIO_PCI) return binding;
  checkInterfaces(device, options);
  await ensureVfioPci(context);
  options.signal?.throwIfAborted();
  try {
    await binding.take();
    await waitForGroupNode(device.path, options);
  } catch (error) {
    throw await undo(binding, error);
  }
  return binding;
}

function contextOf({ log, kernel = LINUX_KERNEL, sysfsRoot = SYSFS_ROOT }: BindOptions): BindContext {
  return { log, kernel, sysfsRoot };
}

/** Gives the device back after a failure; the error to throw is the failure, or that even this failed. */
async function undo(binding: DeviceBinding, failure: unknown): Promise<unknown> {
  try {
    await binding.giveBack();
    return failure;
  } catch (error) {
    return new PciError(
      'PCI_BIND_FAILED',
      `${binding.address} could not be bound to vfio-pci (${messageOf(failure)}), nor given back: ${messageOf(error)}`,
      { cause: new AggregateError([failure, error], 'binding failed, and so did undoing it') },
    );
  }
}

function checkInterfaces(device: PciDevice, options: BindOptions): void {
  const up = device.interfaces.filter((one) => one.up).map((one) => one.name);
  if (up.length === 0 && !device.hasHiddenInterface) return;
  if (options.takeOver === true) {
    options.log.warn({ bdf: device.address, interfaces: up }, 'taking over a card that the kernel uses');
    return;
  }
  if (up.length === 0) {
    throw new PciError(
      'PCI_INTERFACE_UP',
      `The network interface of ${device.address} is in another network namespace, where it may be in use`,
      { remedy: 'Move it back and set it down, or pass { takeOver: true }.' },
    );
  }
  throw new PciError(
    'PCI_INTERFACE_UP',
    `The network interface ${up.join(', ')} of ${device.address} is up`,
    {
      remedy: `Set it down first (ip link set dev ${up[0] ?? 'NAME'} down), or pass { takeOver: true }.`,
    },
  );
}
