/**
 * One device on its way from the driver that it had to vfio-pci, and back.
 *
 * The kernel makes one writer win: `unbind` succeeds for the program that really took the device from its
 * driver, and `bind` for the one that really bound it. So of two programs that want the same device one gets
 * it, and only that one gives it back. (`drivers_probe` would tell neither who won nor why probing failed.)
 */
import { join } from 'node:path';
import { PciError } from '../errors.js';
import type { Logger } from '../log.js';
import { errnoName, isAbsent, listNames, messageOf, writeFailure } from './attributes.js';
import { inTurn } from './in-turn.js';
import type { KernelControls } from './kernel-controls.js';
import { withoutGroup } from './no-iommu.js';
import { pciBusPath, readDriver, type PciDevice } from './sysfs.js';

/** What binding works with. */
export interface BindContext {
  readonly log: Logger;
  readonly kernel: KernelControls;
  readonly sysfsRoot: string;
}

/** A device that is bound to vfio-pci. */
export interface VfioBinding {
  readonly address: string;
  /** Whether the device was taken from what it was; false where it was bound to vfio-pci before. */
  readonly changed: boolean;
  /** The driver that the device had, and gets back if it was changed; undefined where it had none. */
  readonly previousDriver: string | undefined;
  /**
   * Gives the device back to the driver that it had. The device must be closed. Where nothing was changed, nothing is done. Calling it again gives the same promise.
   *
   * @throws PciError PCI_BIND_FAILED, PCI_PERMISSION_DENIED
   */
  restore(): Promise<void>;
}

/** The name of the driver that a device is bound to for VFIO. */
export const VFIO_PCI = 'vfio-pci';
/** How often to try again where another driver is bound in the moment between unbinding and binding. */
const ATTEMPTS = 3;
/** How long unbinding from vfio-pci may take before a line in the log says why, in milliseconds. */
const NOTICE_AFTER = 2000;

/** What has been done to a device so far, and how to undo it. */
export class DeviceBinding implements VfioBinding {
  readonly address: string;
  readonly previousDriver: string | undefined;
  readonly #device: PciDevice;
  readonly #kernel: KernelControls;
  readonly #log: Logger;
  readonly #sysfsRoot: string;
  readonly #drivers: string;
  #unbound = false;
  #overridden = false;
  #bound = false;
  #restored: Promise<void> | undefined;

  constructor(device: PciDevice, context: BindContext) {
    this.address = device.address;
    this.previousDriver = device.driver;
    this.#device = device;
    this.#kernel = context.kernel;
    this.#log = context.log;
    this.#sysfsRoot = context.sysfsRoot;
    this.#drivers = join(pciBusPath(context.sysfsRoot), 'drivers');
  }

  get changed(): boolean {
    return this.#unbound || this.#overridden || this.#bound;
  }

  restore(): Promise<void> {
    this.#restored ??= this.changed ? inTurn(this.address, () => this.giveBack()) : Promise.resolve();
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
    await this.#clearOverride();
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
    return this.#device.iommuGroup === undefined && !denied
      ? withoutGroup(this.address, this.#sysfsRoot)
      : failure;
  }

  /**
   * Brings back the override that was there. The device stays bound without ours, and where this program is
   * killed, any driver can take it again.
   */
  async #clearOverride(): Promise<void> {
    await this.#writeOverride(this.#device.driverOverride);
    this.#overridden = false;
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

  /** Undoes what has been done so far. For `restore()`, and where binding fails halfway. */
  async giveBack(): Promise<void> {
    if (!this.changed) return;
    if ((await listNames(this.#device.path)) === undefined) {
      this.#log.info({ bdf: this.address }, 'the device was removed; there is nothing to give back');
      return;
    }
    try {
      if (this.#overridden) await this.#clearOverride();
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
