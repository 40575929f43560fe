/**
 * What carries the settings of a card to the device: the control queue while the device runs, and the memory of what
 * was set, so that a device that was reset is set again (VIRTIO 1.3, 5.1.6.5).
 */
import { UsageError } from '../../errors.js';
import type { Transport } from '../../transport/transport.js';
import type { HashCapabilities } from '../config-space.js';
import type { ConfigWatch } from '../config-watch.js';
import type { FeatureName } from '../feature-table.js';
import type { NegotiatedFeatures } from '../features.js';
import type { CommandBody, ControlCommand } from './commands.js';
import type { ControlChannel } from './control-channel.js';
import { ControlQueue } from './control-queue.js';
import { DirectControl } from './direct-control.js';
import { requireFeatures } from './requirements.js';
import type { Direction, LostSetting, PairQueue } from '../recovery-report.js';
import { Settings } from './settings.js';

export interface ControlSessionParts {
  readonly transport: Transport;
  readonly features: NegotiatedFeatures;
  readonly config: ConfigWatch;
  /** How many queue pairs are open. */
  readonly pairs: number;
  /** Called when another number of queue pairs is used: those from 0 on, before the device is told of fewer. */
  readonly onQueuePairs: (count: number) => void;
  /** How long to wait for an answer to a command, in milliseconds. */
  readonly timeout: number;
}

export class ControlSession {
  readonly parts: ControlSessionParts;
  readonly settings = new Settings();
  private readonly queue: ControlChannel | undefined;
  /** Whether commands reach the device: it was told to go, and is still going. */
  private online = false;
  private closed = false;
  /** Whether what is set now is set on a device that was reset, and so has nothing of what it had. */
  restoring = false;
  private last: Promise<unknown> = Promise.resolve();

  private constructor(parts: ControlSessionParts, queue: ControlChannel | undefined) {
    this.parts = parts;
    this.queue = queue;
  }

  /**
   * Allocates the control queue, if the device has one. The device must be past FEATURES_OK.
   *
   * @throws DeviceError DEVICE_QUEUE_UNAVAILABLE, MemoryError, VfioError
   */
  static create(parts: ControlSessionParts): ControlSession {
    const { transport, features, config, timeout } = parts;
    if (!features.has('VIRTIO_NET_F_CTRL_VQ')) return new ControlSession(parts, undefined);
    if (transport.command !== undefined) return new ControlSession(parts, new DirectControl(transport));
    // Behind all queue pairs that the device could have, whether they are used or not (5.1.2).
    const index = 2 * config.current.maxQueuePairs;
    return new ControlSession(parts, ControlQueue.create(transport, features, { index, timeout }));
  }

  /** Number of the control queue at the device, if it has one. */
  get queueIndex(): number | undefined {
    return this.queue?.index;
  }

  /** What the device can hash: nothing, if it does not tell. */
  get hash(): HashCapabilities {
    const { hash } = this.parts.config.current;
    return hash ?? { maxKeySize: 0, maxTableLength: 0, hashTypes: 0, tunnelTypes: 0 };
  }

  /** @throws UsageError FEATURE_NOT_NEGOTIATED, DEVICE_CLOSED */
  require(what: string, ...names: readonly FeatureName[]): void {
    this.checkOpen();
    requireFeatures(this.parts.features, what, ...names);
  }

  /** Applies a setting that takes one command; otherwise as {@link keep}. */
  set(
    key: string,
    name: string,
    command: ControlCommand,
    data: readonly Uint8Array[],
    ends?: string,
  ): Promise<void> {
    return this.keep(key, name, () => this.command(command, { data }), ends);
  }

  /**
   * Applies a setting, if the device runs, and keeps it. What fails is not kept.
   *
   * @param ends - what the keys begin with of settings that this one puts an end to
   * @param kept - called when the setting is kept, before anything else is set
   */
  keep(
    key: string,
    name: string,
    apply: () => Promise<unknown>,
    ends?: string,
    kept?: () => void,
  ): Promise<void> {
    return this.inTurn(async () => {
      if (this.online) await apply();
      if (ends !== undefined) this.settings.forgetAll(ends);
      this.settings.keep(key, name, apply);
      kept?.();
    });
  }

  /** Applies a setting again, if it is kept, and from now on behind all others. */
  again(key: string): Promise<void> {
    return this.inTurn(async () => {
      this.settings.moveBehind(key);
      if (this.online) await this.settings.apply(key);
    });
  }

  /** Undoes a setting, if the device runs, and keeps it no more. */
  unset(key: string, command: ControlCommand, data: readonly Uint8Array[]): Promise<void> {
    return this.inTurn(async () => {
      if (this.online) await this.command(command, { data });
      this.settings.forget(key);
    });
  }

  /** Sends a command to a running device. */
  async command(command: ControlCommand, body?: CommandBody): Promise<Uint8Array> {
    this.checkOpen();
    if (this.queue === undefined) {
      throw new UsageError('FEATURE_NOT_NEGOTIATED', `${command.name} needs VIRTIO_NET_F_CTRL_VQ`);
    }
    return this.queue.command(command, body);
  }

  /** Tells the device of the control queue, as it is told of the others before it is told to go. */
  enable(): void {
    this.queue?.enable();
  }

  /**
   * Sets all that was set before, on a device that was just told to go.
   *
   * @returns what could not be set; what the device refused is forgotten
   */
  restore(): Promise<LostSetting[]> {
    this.online = true;
    return this.inTurn(async () => {
      this.restoring = true;
      try {
        return await this.settings.restore();
      } finally {
        this.restoring = false;
      }
    });
  }

  /**
   * Resets a queue between two settings: no command may tell the device to use queues while one is not enabled
   * (5.1.6.5.6.1).
   */
  betweenSettings<T>(reset: () => Promise<T>): Promise<T> {
    return this.inTurn(reset);
  }

  /** Sets what a queue forgot when it alone was reset; says what could not be set. */
  restoreQueue({ queuePair, direction }: PairQueue): Promise<LostSetting[]> {
    const key = queueSettingKey(queuePair, direction);
    return this.inTurn(async () => (this.online ? this.settings.restore(key) : []));
  }

  /** Ends all waiting for the device, which may still use the memory. */
  halt(reason?: Error): void {
    this.online = false;
    this.queue?.halt(reason);
  }

  /** Takes the memory back from a device that was reset. */
  reset(): void {
    this.online = false;
    this.queue?.reset();
  }

  /** Gives all memory back. The device must have been reset. Calling it again does nothing. */
  free(): void {
    this.online = false;
    this.closed = true;
    this.queue?.free();
  }

  /** @throws UsageError DEVICE_CLOSED */
  checkOpen(): void {
    if (this.closed) throw new UsageError('DEVICE_CLOSED', `${this.parts.transport.name} is closed`);
  }

  private async inTurn<T>(step: () => Promise<T>): Promise<T> {
    this.checkOpen();
    const turn = this.last.then(step);
    this.last = turn.catch(() => undefined);
    return turn;
  }
}

/** Keys of what is set for single queues. */
export function queueSettingKey(queuePair: number | '', direction: Direction): string {
  return `queue-coalescing:${direction}:${queuePair}`;
}
