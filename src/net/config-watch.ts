import { DeviceError } from '../errors.js';
import type { Transport } from '../transport/transport.js';
import { readNetConfig, type Duplex, type NetConfig } from './config-space.js';
import type { NegotiatedFeatures } from './features.js';
import { needsReset } from './initialisation.js';

/** How often a polling program looks at the configuration, in milliseconds: it costs two accesses to the device. */
const LOOK_EVERY_MS = 100;

/** How fast the link is, as far as the device tells. */
export interface LinkSpeed {
  /** In Mbit/s; undefined if unknown. */
  readonly speed: number | undefined;
  /** Undefined if unknown. */
  readonly duplex: Duplex | undefined;
}

/** Told of changes of the configuration. None of them throws. */
export interface ConfigHooks {
  link(up: boolean): void;
  mtu(bytes: number): void;
  speed(speed: LinkSpeed): void;
  /**
   * The device asks to be announced on its network. Told once: {@link ConfigWatch.announced} has to say that it was
   * done before the device can ask again.
   */
  announce(): void;
}

/** Follows the configuration of a running device. */
export class ConfigWatch {
  /** The last consistent reading. */
  current: NetConfig;
  private readonly transport: Transport;
  private readonly features: NegotiatedFeatures;
  private readonly hooks: ConfigHooks;
  private nextLook = 0;
  /** The program was told that the device asks to be announced, and the device was not told that it was done. */
  private announcing = false;
  /** The generation of the configuration in which the device asked for that. */
  private askedAt: number | undefined;

  constructor(transport: Transport, features: NegotiatedFeatures, hooks: ConfigHooks) {
    this.transport = transport;
    this.features = features;
    this.hooks = hooks;
    this.current = readNetConfig(transport, features);
  }

  /** Reads the configuration anew, and tells nobody. */
  reread(): void {
    this.current = readNetConfig(this.transport, this.features);
  }

  /** Tells of what is different from an earlier reading, and of what the device asks for. */
  tell(before: NetConfig): void {
    const { hooks, current } = this;
    const { linkUp, mtu, speed, duplex, announce, generation } = current;
    if (linkUp !== before.linkUp) hooks.link(linkUp);
    if (mtu !== before.mtu) hooks.mtu(mtu);
    if (speed !== before.speed || duplex !== before.duplex) hooks.speed({ speed, duplex });
    if (!announce || this.announcing) return;
    this.announcing = true;
    this.askedAt = generation;
    hooks.announce();
  }

  /**
   * Looks for changes, and tells of them.
   *
   * @throws DeviceError DEVICE_NEEDS_RESET, DEVICE_CONFIG_UNSTABLE, DEVICE_CONFIG_INVALID
   */
  look(): void {
    const { transport } = this;
    if (needsReset(transport)) {
      throw new DeviceError('DEVICE_NEEDS_RESET', `${transport.name} asks to be reset`);
    }
    // The legacy interface has no generation that would tell.
    if (transport.legacy || transport.readConfigGeneration() !== this.current.generation) this.lookClosely();
  }

  /** Looks for changes, if it is time again; for programs that poll. */
  lookNowAndThen(): void {
    const now = performance.now();
    if (now < this.nextLook) return;
    this.nextLook = now + LOOK_EVERY_MS;
    this.look();
  }

  /**
   * The device was told that it was announced. It may have asked again since, with an interrupt that came too early to
   * be of use: looks once more. One that still asks in the same generation has only not taken note; the legacy interface has none.
   *
   * @throws DeviceError DEVICE_CONFIG_UNSTABLE, DEVICE_CONFIG_INVALID
   */
  announced(): void {
    const before = this.current;
    this.announcing = false;
    this.reread();
    if (this.transport.legacy || this.current.generation !== this.askedAt) this.tell(before);
  }

  /** Begins anew on a device that was reset: what it asked for before does not count. */
  reset(): void {
    this.announcing = false;
    this.askedAt = undefined;
  }

  private lookClosely(): void {
    const before = this.current;
    this.reread();
    this.tell(before);
  }
}
