/** Which kind of addresses a device is given (VIRTIO 1.3, 6.1). */
import { DeviceError, UsageError } from '../errors.js';
import type { Transport } from '../transport/transport.js';
import type { NegotiatedFeatures } from './features.js';
import type { Addressing } from './options.js';

/**
 * Has the memory of a device give addresses that the device can use: IOVAs where it goes through the IOMMU, else
 * physical addresses. To be called between negotiating and allocating.
 *
 * @throws DeviceError DEVICE_BYPASSES_IOMMU; UsageError OPTION_INVALID; VfioError VFIO_IOMMU_ABSENT
 */
export function chooseAddressing(transport: Transport, features: NegotiatedFeatures, wish: Addressing): void {
  const { memory, name } = transport;
  if (memory.hasOwnAddresses === true) {
    if (wish !== 'physical') return;
    throw new UsageError(
      'OPTION_INVALID',
      `addressing is physical, but ${name} shares memory with the driver under addresses of the driver's choice`,
      { remedy: 'Take out { addressing: "physical" }.' },
    );
  }
  const translated = features.has('VIRTIO_F_ACCESS_PLATFORM');
  if (wish === 'iova' && !translated) {
    throw new DeviceError('DEVICE_BYPASSES_IOMMU', `${name} does not go through the IOMMU`);
  }
  if (wish === 'physical' && translated && memory.behindIommu) {
    throw new UsageError(
      'OPTION_INVALID',
      `addressing is physical, but ${name} goes through the IOMMU, which translates other addresses`,
      { remedy: 'Take out { addressing: "physical" }, or turn iommu_platform off on the device.' },
    );
  }
  // Where there is no IOMMU, the addresses of the platform are the physical ones.
  const auto = translated && memory.behindIommu ? 'iova' : 'physical';
  memory.setAddressing(wish === 'auto' ? auto : wish);
}
