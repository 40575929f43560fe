/**
 * A virtio network device in software, for people without a card, and for tests.
 *
 * It needs neither Linux nor Node.js: nothing here uses more than what a browser has too.
 *
 * @packageDocumentation
 */
export { createSimulatedDevice, type SimulatedDevice } from './device.js';
export { SIMULATED_FEATURES, type SimulatedFeature } from './features.js';
export {
  createEchoHost,
  type EchoHost,
  type EchoHostOptions,
  type EchoHostStatistics,
  type NetworkHost,
  type SendToDriver,
} from './host.js';
export type { CommandListener, CommandVerdict, ControlCommand } from './net/control.js';
export type { ArrivingOffload } from './net/delivery.js';
export type { FrameOffload } from './net/offload.js';
export type { SentDetails, TransmitListener } from './net/wire.js';
export type { SimulatedDeviceOptions, SimulatedDuplex } from './options.js';
export type { SimulatedQueueStatistics, SimulatedStatistics } from './statistics.js';
