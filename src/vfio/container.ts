/** A VFIO container: the IOMMU context in which devices see memory. */
import { closeSync, constants, openSync } from 'node:fs';
import { join } from 'node:path';
import { VfioError } from '../errors.js';
import { ERRNO } from '../native/errno.js';
import { shim } from '../native/shim.js';
import { parseIovaRanges, type Range } from './capability-chain.js';
import {
  API_VERSION,
  IOMMU_CAP_IOVA_RANGE,
  IOMMU_FLAG,
  NOIOMMU_IOMMU,
  TYPE1_IOMMU,
  TYPE1_V2_IOMMU,
} from './constants.js';
import { opening, vfioCall } from './failures.js';
import { fetchInfo } from './info.js';
import { IOVA_LIMIT } from './iova-allocator.js';

const IOMMU_INFO_BYTES = 24;
const LOAD_MODULE = 'Load the module: modprobe vfio-pci';

/** What the IOMMU can translate. */
export interface IommuInfo {
  /** The smallest page of the IOMMU in bytes; 0 where the kernel does not say. */
  readonly pageSize: number;
  /** Valid device addresses below 4 GiB; undefined where the kernel does not say. */
  readonly ranges: Range[] | undefined;
}

export class Container {
  readonly fd: number;

  private constructor(fd: number) {
    this.fd = fd;
  }

  /**
   * @param noIommu - whether it is for a group without an IOMMU
   * @throws VfioError VFIO_NOT_AVAILABLE, VFIO_PERMISSION_DENIED, VFIO_CALL_FAILED
   */
  static open(devRoot: string, noIommu: boolean): Container {
    const path = join(devRoot, 'vfio', 'vfio');
    const fd = opening(path, () => openSync(path, constants.O_RDWR), LOAD_MODULE);
    const container = new Container(fd);
    try {
      container.#checkVersion(path);
      // Whether there is no-IOMMU mode shows only once a group is attached.
      if (!noIommu) container.#checkIommu(path);
      return container;
    } catch (error) {
      container.close();
      throw error;
    }
  }

  #checkVersion(path: string): void {
    // A file that is no VFIO container does not know the call.
    const version = shim().vfio_api_version(this.fd);
    if (version !== API_VERSION) {
      const what =
        version < 0 ? 'is no VFIO container' : `speaks version ${version} of VFIO, not ${API_VERSION}`;
      throw new VfioError('VFIO_NOT_AVAILABLE', `${path} ${what}`, { syscall: 'VFIO_GET_API_VERSION' });
    }
  }

  #checkIommu(path: string): void {
    if (this.#iommuType() === undefined) {
      throw new VfioError('VFIO_NOT_AVAILABLE', `${path} offers no IOMMU of type 1`, {
        remedy: 'Load the module: modprobe vfio_iommu_type1',
        syscall: 'VFIO_CHECK_EXTENSION',
      });
    }
  }

  #iommuType(): number | undefined {
    return [TYPE1_V2_IOMMU, TYPE1_IOMMU].find((type) => shim().vfio_check_extension(this.fd, type) > 0);
  }

  /** Gives the container its IOMMU; a group must have been attached before. */
  setIommu(): void {
    const result = shim().vfio_set_iommu(this.fd, this.#iommuType() ?? TYPE1_IOMMU);
    vfioCall('VFIO_SET_IOMMU', result, result === -ERRNO.EPERM ? NO_INTERRUPT_REMAPPING : undefined);
  }

  /** As `setIommu()`, for a group without an IOMMU. */
  setNoIommu(): void {
    vfioCall('VFIO_SET_IOMMU (no-IOMMU mode)', shim().vfio_set_iommu(this.fd, NOIOMMU_IOMMU));
  }

  /** What the IOMMU can translate; to be asked once it is set. */
  iommuInfo(): IommuInfo {
    const bytes = fetchInfo('VFIO_IOMMU_GET_INFO', IOMMU_INFO_BYTES, (buffer) =>
      shim().vfio_iommu_info(this.fd, buffer, buffer.length),
    );
    const info = new DataView(bytes.buffer);
    const flags = info.getUint32(4, true);
    const sizes = (flags & IOMMU_FLAG.PGSIZES) === 0 ? 0n : info.getBigUint64(8, true);
    const first = (flags & IOMMU_FLAG.CAPS) === 0 ? 0 : info.getUint32(16, true);
    return {
      // The lowest bit that is set.
      pageSize: Number(sizes & -sizes),
      ranges: parseIovaRanges(bytes, first, IOMMU_CAP_IOVA_RANGE, IOVA_LIMIT),
    };
  }

  close(): void {
    closeSync(this.fd);
  }
}

const NO_INTERRUPT_REMAPPING =
  'The platform can not remap interrupts: turn that on (firmware, or intremap=on of a vIOMMU), or where the ' +
  'device is trusted: modprobe vfio_iommu_type1 allow_unsafe_interrupts=1.';
