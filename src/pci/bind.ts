/**
 * Taking a PCI device from the kernel's driver, giving it to vfio-pci, and giving it back.
 *
 * The kernel makes one writer win: `unbind` succeeds for the program that really took the device from its
 * driver, and `bind` for the one that really bound it. So of two programs that want the same device one gets
 * it, and only that one gives it back. (`drivers_probe` would tell neither who won nor why probing failed.)
 */
import { join } from 'node:path';
import { PciError } from '../errors.js';
import type { Logger } from '../log.js';
import { errnoName, isAbsent, listNames, writeFailure } from './attributes.js';
import { noGroup, waitForGroupNode, type GroupNodeOptions } from './group-node.js';
import { LINUX_KERNEL, type KernelControls } from './kernel-controls.js';
import {
  findPciDevice,
  pciBusPath,
  readDriver,
  SYSFS_ROOT,
  type PciDevice,
  type SysfsOptions,
} from './sysfs.js';

/** How to bind a device to vfio-pci. */
export interface BindOptions extends SysfsOptions, GroupNodeOptions {
  readonly log: Logger;
  /** Take the device even if its network interface is up; false unless told. */
  readonly takeOver?: boolean | undefined;
  /** The kernel to act upon; another one is for tests. */
  readonly kernel?: KernelControls | undefined;
}

/** A device that is bound to vfio-pci. */
export interface VfioBinding {
  readonly address: string;
  /** Whether the device was taken from what it was; false where it was bound to vfio-pci before. */
  readonly changed: boolean;
  /** The driver that the device had, and gets back if it was changed; undefined where it had none. */
  readonly previousDriver: string | undefined;
  /**
   * Gives the device back to the driver that it had, with the `driver_override` that it had. The device must
   * be closed. Where nothing was changed, nothing is done. Calling it again gives the same promise.
   *
   * @throws PciError PCI_BIND_FAILED, PCI_PERMISSION_DENIED
   */
  restore(): Promise<void>;
}

const VFIO_PCI = 'vfio-pci';
/** The module that maps memory for devices behind an x86 or ARM IOMMU. */
const VFIO_IOMMU = 'vfio_iommu_type1';
/** How often to try again where another driver is bound in the moment between unbinding and binding. */
const ATTEMPTS = 3;
/** How long unbinding from vfio-pci may take before a line in the log says why, in milliseconds. */
const NOTICE_AFTER = 2000;

/**
 * Binds a device to vfio-pci and waits for the file of its IOMMU group. Whatever fails halfway, the device
 * ends with the driver that it had.
 *
 * @param address - in the form that `parsePciAddress()` gives
 * @throws PciError PCI_NO_SUCH_DEVICE, PCI_INTERFACE_UP, PCI_PERMISSION_DENIED, PCI_BIND_FAILED
 * @throws VfioError VFIO_IOMMU_ABSENT
 * @throws the reason of `signal`
 */
export async function bindToVfio(address: string, options: BindOptions): Promise<VfioBinding> {
  const before = inProgress.get(address);
  const binding = (async () => {
    await before?.catch(() => undefined);
    return bindNow(address, options);
  })();
  inProgress.set(address, binding);
  try {
    return await binding;
  } finally {
    if (inProgress.get(address) === binding) inProgress.delete(address);
  }
}

/** Of each device, the last binding that is under way: one that looks in between would see no driver. */
const inProgress = new Map<string, Promise<VfioBinding>>();

async function bindNow(address: string, options: BindOptions): Promise<VfioBinding> {
  options.signal?.throwIfAborted();
  const device = await findPciDevice(address, options);
  const binding = new DeviceBinding(device, options);
  if (device.driver === VFIO_PCI) {
    await waitForGroupNode(device.path, options);
    return binding;
  }
  checkInterfaces(device, options);
  await ensureVfioPci(options);
  options.signal?.throwIfAborted();
  try {
    await binding.take();
    await waitForGroupNode(device.path, options);
  } catch (error) {
    throw await undo(binding, error);
  }
  return binding;
}

/** Gives the device back after a failure; the error to throw is the failure, or that even this failed. */
async function undo(binding: DeviceBinding, failure: unknown): Promise<unknown> {
  try {
    await binding.restore();
    return failure;
  } catch (error) {
    const what = failure instanceof Error ? failure.message : String(failure);
    return new PciError(
      'PCI_BIND_FAILED',
      `${binding.address} could not be bound to vfio-pci (${what}), nor given back: ${messageOf(error)}`,
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

async function ensureVfioPci(options: BindOptions): Promise<void> {
  const sysfsRoot = options.sysfsRoot ?? SYSFS_ROOT;
  const failure = await loadUnlessThere(join(pciBusPath(sysfsRoot), 'drivers', VFIO_PCI), VFIO_PCI, options);
  if (failure !== undefined) {
    throw new PciError('PCI_BIND_FAILED', `The kernel has no vfio-pci driver: ${failure}`, {
      remedy:
        'Load it as root: modprobe vfio-pci. If there is no such module, install the kernel that has it.',
    });
  }
  // vfio names this module as one to load after it, which not every modprobe does. Opening the device says so
  // where it is really missing.
  await loadUnlessThere(join(sysfsRoot, 'module', VFIO_IOMMU), VFIO_IOMMU, options);
}

/**
 * Loads a module if the folder that it brings is not there.
 *
 * @returns why the folder is still not there; undefined when it is
 */
async function loadUnlessThere(
  folder: string,
  name: string,
  options: BindOptions,
): Promise<string | undefined> {
  if ((await listNames(folder)) !== undefined) return undefined;
  let failure = `${folder} is missing`;
  try {
    await (options.kernel ?? LINUX_KERNEL).loadModule(name);
  } catch (error) {
    failure = messageOf(error);
    options.log.debug({ module: name, err: error }, 'the module could not be loaded');
  }
  return (await listNames(folder)) === undefined ? failure : undefined;
}

/** What has been done to a device so far, and how to undo it. */
class DeviceBinding implements VfioBinding {
  readonly address: string;
  readonly previousDriver: string | undefined;
  readonly #device: PciDevice;
  readonly #kernel: KernelControls;
  readonly #log: Logger;
  readonly #drivers: string;
  #unbound = false;
  #overridden = false;
  #bound = false;
  #restored: Promise<void> | undefined;

  constructor(device: PciDevice, options: BindOptions) {
    this.address = device.address;
    this.previousDriver = device.driver;
    this.#device = device;
    this.#kernel = options.kernel ?? LINUX_KERNEL;
    this.#log = options.log;
    this.#drivers = join(pciBusPath(options.sysfsRoot), 'drivers');
  }

  get changed(): boolean {
    return this.#unbound || this.#overridden || this.#bound;
  }

  restore(): Promise<void> {
    this.#restored ??= this.#giveBack();
    return this.#restored;
  }

  /** Unbinds the device from its driver and binds it to vfio-pci. */
  async take(): Promise<void> {
    if (this.previousDriver !== undefined) await this.#unbindPrevious(this.previousDriver);
    await this.#writeOverride(VFIO_PCI);
    this.#overridden = true;
    for (let attempt = 1; ; attempt++) {
      const failure = await this.#tryBind();
      if (failure === undefined) break;
      const intruder = await readDriver(this.#device.path);
      if (intruder === undefined || intruder === VFIO_PCI || attempt === ATTEMPTS) {
        throw this.#bindFailure(failure, intruder);
      }
      await this.#unbind(intruder);
    }
    this.#log.info({ bdf: this.address, previousDriver: this.previousDriver }, 'bound to vfio-pci');
  }

  async #unbindPrevious(driver: string): Promise<void> {
    if (await this.#unbind(driver)) {
      this.#unbound = true;
      return;
    }
    throw new PciError(
      'PCI_BIND_FAILED',
      `${this.address} was bound to ${driver} a moment ago and is not any more: another program is taking it`,
      { remedy: 'Try again when the other program is done with the device.' },
    );
  }

  /** Says whether it was this call that unbound the device. */
  async #unbind(driver: string): Promise<boolean> {
    const path = join(this.#drivers, driver, 'unbind');
    try {
      await this.#kernel.writeAttribute(path, this.address);
      return true;
    } catch (error) {
      if (isAbsent(error)) return false;
      throw writeFailure(`Unbinding ${this.address} from ${driver}`, path, error);
    }
  }

  /** Binds the device to vfio-pci, or says why that did not work. */
  async #tryBind(): Promise<Error | undefined> {
    const path = join(this.#drivers, VFIO_PCI, 'bind');
    try {
      await this.#kernel.writeAttribute(path, this.address);
      this.#bound = true;
    } catch (error) {
      return writeFailure(`Binding ${this.address} to vfio-pci`, path, error);
    }
    const driver = await readDriver(this.#device.path);
    if (driver === VFIO_PCI) return undefined;
    this.#bound = false;
    return new PciError('PCI_BIND_FAILED', `${this.address} did not stay bound to vfio-pci`);
  }

  #bindFailure(failure: Error, driver: string | undefined): Error {
    if (driver !== undefined) {
      return new PciError(
        'PCI_BIND_FAILED',
        `Meanwhile ${this.address} was bound to ${driver} by another program`,
        {
          remedy: 'Try again when the other program is done with the device.',
          cause: failure,
        },
      );
    }
    const denied = failure instanceof PciError && failure.code === 'PCI_PERMISSION_DENIED';
    return this.#device.iommuGroup === undefined && !denied ? noGroup(this.address) : failure;
  }

  async #writeOverride(driver: string | undefined): Promise<void> {
    const path = join(this.#device.path, 'driver_override');
    try {
      // A lone newline clears it: a write of no bytes would not reach the kernel.
      await this.#kernel.writeAttribute(path, driver ?? '\n');
    } catch (error) {
      throw writeFailure(`Setting the driver_override of ${this.address}`, path, error);
    }
  }

  async #giveBack(): Promise<void> {
    if (!this.changed) return;
    if ((await listNames(this.#device.path)) === undefined) {
      this.#log.info({ bdf: this.address }, 'the device was removed; there is nothing to give back');
      return;
    }
    try {
      if (this.#overridden) await this.#writeOverride(this.#device.driverOverride);
      if (this.#bound) await this.#leaveVfio();
      if (this.#unbound && this.previousDriver !== undefined) await this.#bindPrevious(this.previousDriver);
    } catch (error) {
      this.#log.error(
        { bdf: this.address, driver: this.previousDriver, err: error },
        'the device was not given back',
      );
      throw error;
    }
    this.#log.info({ bdf: this.address, driver: this.previousDriver }, 'given back');
  }

  /** The kernel unbinds a device from vfio-pci only when nobody has it open, and waits until then. */
  async #leaveVfio(): Promise<void> {
    const notice = setTimeout(() => {
      this.#log.warn({ bdf: this.address }, 'waiting for another program to close the device');
    }, NOTICE_AFTER);
    try {
      await this.#unbind(VFIO_PCI);
    } finally {
      clearTimeout(notice);
    }
  }

  async #bindPrevious(driver: string): Promise<void> {
    const path = join(this.#drivers, driver, 'bind');
    let failure: unknown;
    try {
      await this.#kernel.writeAttribute(path, this.address);
    } catch (error) {
      failure = error;
    }
    const now = await readDriver(this.#device.path);
    if (now === driver) return;
    const why = failure === undefined ? '' : `: write ${path}: ${errnoName(failure) || messageOf(failure)}`;
    throw new PciError(
      'PCI_BIND_FAILED',
      `${this.address} could not be given back to ${driver} and has ${now ?? 'no driver'} now${why}`,
      { remedy: `Load the driver and bind it by hand: echo ${this.address} > ${path}`, cause: failure },
    );
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message.trim() : String(error));
