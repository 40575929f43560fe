import { DeviceError } from '../errors.js';
import { STATUS, type Transport } from '../transport/transport.js';
import { readNetConfig, type NetConfig } from './config-space.js';
import type { NegotiatedFeatures } from './features.js';

/** How often a polling program looks at the configuration, in milliseconds: it costs two accesses to the device. */
const LOOK_EVERY_MS = 100;

/** Follows the configuration of a running device. */
export class ConfigWatch {
  /** The last consistent reading. */
  current: NetConfig;
  private readonly transport: Transport;
  private readonly features: NegotiatedFeatures;
  private readonly onLink: (up: boolean) => void;
  private nextLook = 0;

  constructor(transport: Transport, features: NegotiatedFeatures, onLink: (up: boolean) => void) {
    this.transport = transport;
    this.features = features;
    this.onLink = onLink;
    this.current = readNetConfig(transport, features);
  }

  /** Reads the configuration anew. */
  reread(): void {
    this.current = readNetConfig(this.transport, this.features);
  }

  /**
   * Looks for changes, and tells of them.
   *
   * @throws DeviceError DEVICE_NEEDS_RESET, DEVICE_CONFIG_UNSTABLE, DEVICE_CONFIG_INVALID
   */
  look(): void {
    const { transport } = this;
    if ((transport.readStatus() & STATUS.DEVICE_NEEDS_RESET) !== 0) {
      throw new DeviceError('DEVICE_NEEDS_RESET', `${transport.name} asks to be reset`);
    }
    if (transport.readConfigGeneration() === this.current.generation) return;
    const { linkUp } = this.current;
    this.reread();
    if (this.current.linkUp !== linkUp) this.onLink(this.current.linkUp);
  }

  /** Looks for changes, if it is time again; for programs that poll. */
  lookNowAndThen(): void {
    const now = performance.now();
    if (now < this.nextLook) return;
    this.nextLook = now + LOOK_EVERY_MS;
    this.look();
  }
}
