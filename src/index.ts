/**
 * virtio-net: drive a virtio network card from Node.js, with no kernel driver in between.
 *
 * @packageDocumentation
 */
export { NetDevice, type NetDeviceEvents } from './net-device.js';
export type { FramesOptions } from './net/frame-dispatch.js';
export { attachQueuePair } from './net/sharing/attach.js';
export type {
  AttachedQueuePair,
  AttachedQueuePairEvents,
  AttachedState,
} from './net/sharing/attached-queue-pair.js';
export type { SharedQueuePair } from './net/sharing/shared-queue-pair.js';
export type { NetDeviceState } from './net/lifecycle.js';
export type { NetQueuePair } from './net/net-queue-pair.js';
export type { Direction, LostFrames, LostSetting, PairQueue, RecoveryReport } from './net/recovery-report.js';
export type {
  Addressing,
  HugePages,
  InterruptMode,
  NetDeviceOptions,
  PciInterface,
  Recovery,
} from './net/options.js';
export type { VhostUserOptions } from './net/vhost-user-options.js';
export { RECEIVE_OFFLOADS, type FeatureName } from './net/feature-table.js';
export type { NetControl } from './net/control/net-control.js';
export type { Coalescing } from './net/control/coalescing.js';
export type {
  DeviceControlStatistics,
  DeviceReceiveStatistics,
  DeviceStatistics,
  DeviceTransmitStatistics,
} from './net/control/device-statistics.js';
export type { HashConfig, HashType, RssConfig, RssSettings, TunnelType } from './net/control/hashing.js';
export type { MacAddress, MacTable } from './net/control/mac-filter.js';
export type { ReceiveMode } from './net/control/receive-mode.js';
export type { Duplex } from './net/config-space.js';
export type { LinkSpeed } from './net/config-watch.js';
export type { FeatureWishes, NegotiatedFeatures } from './net/features.js';
export type { FrameStream } from './net/frame-stream.js';
export { completeChecksum, requestOffload, type OffloadRequest } from './net/checksum-offload.js';
export { CHECKSUM, GSO, PacketBuffer, type Checksum, type Gso } from './memory/packet-buffer.js';
export type { NetStatistics, NotificationStatistics, QueuePairStatistics } from './net/statistics.js';
export type { DeviceAddress, DmaMemory, DmaRegion } from './memory/dma.js';
export type {
  AbsenceHandlers,
  AccessWidth,
  InterruptHandlers,
  QueueLayout,
  Transport,
} from './transport/transport.js';
export type { Logger } from './log.js';
export {
  DeviceError,
  ERROR_CATALOGUE,
  MemoryError,
  NativeError,
  PciError,
  QueueError,
  UsageError,
  VfioError,
  VhostUserError,
  VirtioNetError,
  type ErrorCode,
} from './errors.js';
