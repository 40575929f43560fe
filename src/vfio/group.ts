/** A VFIO group: the devices that the IOMMU can not tell apart, and that are given away together. */
import { closeSync, constants, openSync } from 'node:fs';
import { VfioError } from '../errors.js';
import { ERRNO, describeErrno } from '../native/errno.js';
import { shim } from '../native/shim.js';
import { GROUP_FLAG } from './constants.js';
import type { Container } from './container.js';
import { opening, vfioCall } from './failures.js';
import { foreignMembers, type DeviceGroup, type GroupMember } from './group-members.js';

export class Group {
  readonly fd: number;
  readonly #group: DeviceGroup;
  readonly #path: string;

  private constructor(fd: number, group: DeviceGroup, path: string) {
    this.fd = fd;
    this.#group = group;
    this.#path = path;
  }

  /** @throws VfioError VFIO_PERMISSION_DENIED, VFIO_DEVICE_BUSY, VFIO_GROUP_NOT_VIABLE, VFIO_NOT_AVAILABLE */
  static open(path: string, group: DeviceGroup): Group {
    const fd = opening(path, () => openSync(path, constants.O_RDWR), whereMissing(path, group));
    const opened = new Group(fd, group, path);
    try {
      opened.#checkViable();
      return opened;
    } catch (error) {
      opened.close();
      throw error;
    }
  }

  #checkViable(): void {
    const flags = vfioCall('VFIO_GROUP_GET_STATUS', shim().vfio_group_status(this.fd));
    if ((flags & GROUP_FLAG.VIABLE) === 0) throw this.#notViable();
    // The kernel lets a group be opened once; an older one told of a second user in this way only.
    if ((flags & GROUP_FLAG.CONTAINER_SET) !== 0) throw busy(this.#group.address, this.#path);
  }

  /** Puts the group into the container. */
  attach(container: Container): void {
    const result = shim().vfio_group_attach(this.fd, container.fd);
    if (result === -ERRNO.EBUSY) throw busy(this.#group.address, this.#path, ERRNO.EBUSY);
    vfioCall('VFIO_GROUP_SET_CONTAINER', result);
  }

  /** Takes the group out of its container; its device must be closed. */
  detach(): void {
    vfioCall('VFIO_GROUP_UNSET_CONTAINER', shim().vfio_group_detach(this.fd));
  }

  /** Opens a device of the group and returns its file descriptor, which the caller closes. */
  openDevice({ address, driver }: GroupMember): number {
    const result = shim().vfio_device_fd(this.fd, address);
    if (result >= 0) return result;
    if (result === -ERRNO.EBUSY) throw busy(address, this.#path, ERRNO.EBUSY);
    throw new VfioError(
      'VFIO_CALL_FAILED',
      `VFIO_GROUP_GET_DEVICE_FD of ${address} failed: ${describeErrno(-result)}`,
      {
        syscall: 'VFIO_GROUP_GET_DEVICE_FD',
        errno: -result,
        remedy: `See that the device is bound to vfio-pci (${boundTo({ driver })}), and the kernel log (dmesg).`,
      },
    );
  }

  close(): void {
    closeSync(this.fd);
  }

  #notViable(): VfioError {
    const foreign = foreignMembers(this.#group).map(({ address, driver }) => `${address} (${driver})`);
    const holders = foreign.length === 0 ? 'another device of it' : foreign.join(', ');
    return new VfioError(
      'VFIO_GROUP_NOT_VIABLE',
      `${this.#group.address} is in IOMMU group ${this.#group.id}, of which a kernel driver holds ${holders}`,
      {
        syscall: 'VFIO_GROUP_GET_STATUS',
        remedy: `Bind each of them to vfio-pci as well, or unbind it from its driver.`,
      },
    );
  }
}

/** The error for a device that somebody has open. */
export function busy(address: string, path: string, errno?: number): VfioError {
  return new VfioError('VFIO_DEVICE_BUSY', `${address} is in use`, {
    errno,
    remedy: `Close it there first; fuser -v ${path} names the process.`,
  });
}

/** What to do where the group has no file: the kernel makes one as soon as vfio-pci has the device. */
function whereMissing(path: string, group: DeviceGroup): string {
  if (group.driver?.startsWith('vfio') !== true) {
    return `Bind ${group.address} to vfio-pci; ${boundTo(group)} now.`;
  }
  return `The device is bound to ${group.driver}: pass the file into the container (--device ${path}), or see that udev runs.`;
}

function boundTo({ driver }: Pick<GroupMember, 'driver'>): string {
  return driver === undefined ? 'it is bound to no driver' : `it is bound to ${driver}`;
}
