/**
 * A virtio network device in software, for people without a card, and for tests.
 *
 * It needs neither Linux nor Node.js: nothing here uses more than what a browser has too.
 *
 * @packageDocumentation
 */
export { createSimulatedDevice, type SimulatedDevice, type SimulatedDeviceOptions } from './device.js';
export { SIMULATED_FEATURES, type SimulatedFeature } from './features.js';
export {
  createEchoHost,
  type EchoHost,
  type EchoHostOptions,
  type EchoHostStatistics,
  type NetworkHost,
} from './host.js';
export type { TransmitListener } from './net-card.js';
export type { SimulatedStatistics } from './statistics.js';
