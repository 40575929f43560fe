/** Opening a virtio network card by its PCI address. */
import { join } from 'node:path';
import type { Logger } from '../log.js';
import { parsePciAddress } from '../pci/address.js';
import { bindToVfio, type VfioBinding } from '../pci/bind.js';
import { checkVirtioNet } from '../pci/identify.js';
import type { PciFunction } from '../pci/pci-function.js';
import { findPciDevice, SYSFS_ROOT } from '../pci/sysfs.js';
import { openVfioFunction, type HugePages, type OpenVfioOptions } from '../vfio/index.js';
import { enterGroup } from './group-release.js';
import { makePciTransport, type PciInterface } from './pci-interface.js';
import type { InterruptOptions } from './pci-interrupts.js';
import type { Transport } from './transport.js';

/** How to open a card. */
export interface OpenPciOptions extends InterruptOptions {
  readonly log: Logger;
  /** Take the card even if the kernel's network interface on it is up; false unless told. */
  readonly takeOver?: boolean | undefined;
  /** Which huge pages to make memory for the card of; `'auto'` unless told. */
  readonly hugePages?: HugePages | undefined;
  /** The interface to drive the card through; `'auto'` unless told. */
  readonly pciInterface?: PciInterface | undefined;
  /** Gives up; what was done until then is undone. */
  readonly signal?: AbortSignal | undefined;
  /** Another place than `/sys` is for tests. */
  readonly sysfsRoot?: string | undefined;
}

/** What opening is made of; others are for tests. */
export interface OpenPciParts {
  bind(address: string, options: OpenPciOptions): Promise<VfioBinding>;
  openFunction(address: string, options: OpenVfioOptions): PciFunction;
}

const REAL_PARTS: OpenPciParts = { bind: bindToVfio, openFunction: openVfioFunction };

/**
 * Takes a virtio network card from the kernel and opens it through VFIO.
 *
 * Closing the transport gives the card back to the driver that it had; where other cards of its IOMMU group are open,
 * closing the last of them does. Whatever fails on the way is undone in the reverse order, so that the card ends with
 * that driver as well.
 *
 * @param address - as lspci writes it: `0000:00:10.0`, `00:10.0`
 * @throws PciError, VfioError, and the reason of `signal`
 */
export async function openPciTransport(
  address: string,
  options: OpenPciOptions,
  parts: OpenPciParts = REAL_PARTS,
): Promise<Transport> {
  const parsed = parsePciAddress(address);
  const device = await findPciDevice(parsed, options);
  checkVirtioNet(device);
  const binding = await parts.bind(parsed, options);
  // What VFIO makes up a group for without an IOMMU is alone in it.
  const group = join(options.sysfsRoot ?? SYSFS_ROOT, device.iommuGroup ?? parsed);
  const release = enterGroup(group, binding, options.log);
  try {
    options.signal?.throwIfAborted();
    return openBound(binding, release, options, parts);
  } catch (error) {
    await giveBack(binding, release, options.log);
    throw error;
  }
}

function openBound(
  binding: VfioBinding,
  release: () => Promise<void>,
  options: OpenPciOptions,
  parts: OpenPciParts,
): Transport {
  const { log, hugePages, sysfsRoot } = options;
  const pciFunction = parts.openFunction(binding.address, { log, hugePages, sysfsRoot });
  try {
    pciFunction.enable();
    const { pciInterface, interruptMode, maxVectors } = options;
    return makePciTransport(pciFunction, { log, release, pciInterface, interruptMode, maxVectors });
  } catch (error) {
    closeQuietly(pciFunction, log);
    throw error;
  }
}

/** The error that made opening fail is the one to throw; that of closing is for the log. */
function closeQuietly(pciFunction: PciFunction, log: Logger): void {
  try {
    pciFunction.close();
  } catch (error) {
    log.error({ bdf: pciFunction.address, err: error }, 'closing the function failed');
  }
}

/** As above: `restore()` has logged its own failure. */
async function giveBack(binding: VfioBinding, release: () => Promise<void>, log: Logger): Promise<void> {
  try {
    await release();
  } catch {
    log.warn({ bdf: binding.address }, 'opening failed, and the device was not given back');
  }
}
