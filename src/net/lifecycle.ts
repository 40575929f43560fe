/**
 * The states of a device: starting, stopping, failing and closing it, one step after another.
 */
import { DeviceError, UsageError } from '../errors.js';
import type { Logger } from '../log.js';
import type { Transport } from '../transport/transport.js';
import type { ConfigWatch } from './config-watch.js';
import type { Datapath } from './datapath.js';
import type { NegotiatedFeatures } from './features.js';
import type { FrameDispatch } from './frame-dispatch.js';
import { freeAll } from './free-all.js';
import { negotiate, resetDevice } from './initialisation.js';
import type { Settings } from './options.js';
import type { QueuePair } from './queue-pair.js';

/**
 * - `stopped`: open, and the device at rest
 * - `running`: frames go in and out
 * - `failed`: the device broke the protocol or asked for a reset; `stop()` and `start()` bring it back
 * - `closed`: everything was given back
 */
export type NetDeviceState = 'stopped' | 'starting' | 'running' | 'failed' | 'stopping' | 'closed';

/** What a lifecycle is the life of. */
export interface LifecycleParts {
  readonly transport: Transport;
  readonly settings: Settings;
  readonly log: Logger;
  readonly features: NegotiatedFeatures;
  readonly config: ConfigWatch;
  readonly queuePairs: readonly QueuePair[];
  readonly streams: FrameDispatch;
  readonly datapath: Datapath;
}

/** Tells the program what happens. None of them throws. */
export interface LifecycleHooks {
  onState(state: NetDeviceState): void;
  onError(error: Error): void;
  onClose(): void;
}

export class Lifecycle {
  state: NetDeviceState = 'stopped';
  private readonly parts: LifecycleParts;
  private readonly hooks: LifecycleHooks;
  /** Whether the device is negotiated and at rest, as `open()` leaves it, so that `start()` need not do that. */
  private fresh = true;
  private failure: Error | undefined;
  /** The last of start, stop and close: they run one after another. */
  private transition: Promise<void> = Promise.resolve();
  private closing: Promise<void> | undefined;

  constructor(parts: LifecycleParts, hooks: LifecycleHooks) {
    this.parts = parts;
    this.hooks = hooks;
  }

  start(): Promise<void> {
    return this.inTurn(() => this.startNow());
  }

  stop(): Promise<void> {
    return this.inTurn(() => this.stopNow());
  }

  close(): Promise<void> {
    if (this.state === 'closed') {
      return Promise.reject(new UsageError('DEVICE_ALREADY_CLOSED', `${this.name} is closed`));
    }
    this.closing ??= this.queueTransition(() => this.closeNow());
    return this.closing;
  }

  /** @throws UsageError DEVICE_CLOSED */
  checkOpen(): void {
    if (this.state === 'closed' || this.closing !== undefined) {
      throw new UsageError('DEVICE_CLOSED', `${this.name} is closed`);
    }
  }

  /** Why nothing can be sent or received now. */
  notRunning(): Error {
    if (this.state === 'closed') return new UsageError('DEVICE_CLOSED', `${this.name} is closed`);
    return this.failure ?? new UsageError('DEVICE_NOT_STARTED', `${this.name} is ${this.state}`);
  }

  /** Takes the device out of use if one of its queues is broken. */
  failIfBroken(): void {
    const { broken } = this.parts.datapath;
    if (broken !== undefined) this.fail(broken);
  }

  /** @throws what the device failed of */
  throwIfBroken(): void {
    this.failIfBroken();
    if (this.failure !== undefined) throw this.failure;
  }

  /** @throws what the device failed of, if that is its state */
  throwIfFailed(): void {
    if (this.state === 'failed' && this.failure !== undefined) throw this.failure;
  }

  /** Takes the device out of use and tells everybody who waits. */
  fail(error: Error): void {
    if (this.failure !== undefined || this.state !== 'running') return;
    const { datapath, streams, log } = this.parts;
    this.failure = error;
    log.error({ err: error }, 'device failed');
    try {
      datapath.halt();
    } catch (haltError) {
      log.error({ err: haltError }, 'interrupts of the failed device could not be turned off');
    }
    this.setState('failed');
    datapath.failSenders(error);
    streams.fail(error);
    this.hooks.onError(error);
  }

  private async inTurn(step: () => Promise<void>): Promise<void> {
    this.checkOpen();
    await this.queueTransition(step);
  }

  /** Runs a step after all earlier ones have ended, whether or not those failed. */
  private queueTransition(step: () => Promise<void>): Promise<void> {
    const turn = this.transition.then(step);
    this.transition = turn.catch(() => undefined);
    return turn;
  }

  private async startNow(): Promise<void> {
    if (this.state !== 'stopped') {
      throw new UsageError('DEVICE_ALREADY_STARTED', `${this.name} is ${this.state}`);
    }
    const { config, datapath, log } = this.parts;
    const before = config.current;
    this.setState('starting');
    try {
      await this.bringUpAgain();
      this.fresh = false;
      datapath.enable();
      // A device that is not running tells nobody of changes.
      config.reread();
      datapath.start();
    } catch (error) {
      await this.comeToRest().catch((restError: unknown) => {
        log.error({ err: restError }, 'device that did not start could not be stopped either');
      });
      throw error;
    }
    this.setState('running');
    config.tell(before);
  }

  /** After `stop()`, takes the device through the negotiation again: with the very same features. */
  private async bringUpAgain(): Promise<void> {
    if (this.fresh) return;
    const { transport, features, settings } = this.parts;
    await resetDevice(transport, settings.resetTimeout);
    negotiate(transport, (offered) => {
      if ((features.negotiatedBits & ~offered) === 0n) return features;
      throw new DeviceError('DEVICE_FEATURE_MISSING', `${this.name} no longer offers what it did`, {
        remedy: 'Close the device and open it again.',
      });
    });
  }

  private async stopNow(): Promise<void> {
    if (this.state === 'stopped') return;
    const { datapath, settings, log } = this.parts;
    const { failure } = this;
    this.setState('stopping');
    datapath.failSenders(failure ?? new UsageError('DEVICE_NOT_STARTED', `${this.name} was stopped`));
    if (failure === undefined) {
      const lost = await datapath.drain(settings.drainTimeout);
      if (lost > 0) log.warn({ frames: lost }, 'device did not send all frames before it was stopped');
    }
    await this.comeToRest();
  }

  /** Resets the device and takes the buffers back. Nothing is freed as long as the device may still use it. */
  private async comeToRest(): Promise<void> {
    this.fresh = false;
    try {
      await this.haltAndReset();
    } catch (error) {
      this.failure = error as Error;
      this.setState('failed');
      throw error;
    }
    for (const pair of this.parts.queuePairs) pair.reset();
    this.parts.config.reset();
    this.failure = undefined;
    this.setState('stopped');
  }

  /** A device whose interrupts can not be turned off is reset all the same. */
  private async haltAndReset(): Promise<void> {
    const { datapath, transport, settings } = this.parts;
    try {
      datapath.halt();
    } finally {
      await resetDevice(transport, settings.resetTimeout);
    }
  }

  private async closeNow(): Promise<void> {
    this.parts.streams.end();
    const atRest = await this.bringToRest();
    try {
      await this.giveBack(atRest);
    } finally {
      this.setState('closed');
      this.parts.log.info({}, 'device closed');
      this.hooks.onClose();
    }
  }

  /** Stops and resets the device, whatever its state; says whether that worked. */
  private async bringToRest(): Promise<boolean> {
    const { transport, settings, log } = this.parts;
    try {
      await this.stopNow();
      if (this.fresh) await resetDevice(transport, settings.resetTimeout);
      return true;
    } catch (error) {
      log.error({ err: error }, 'device could not be stopped before it was closed');
      return false;
    }
  }

  /** A device that did not stop may still write to its buffers: they go only after the transport has cut it off. */
  private async giveBack(atRest: boolean): Promise<void> {
    const { queuePairs, transport } = this.parts;
    try {
      if (atRest) freeAll(queuePairs);
    } finally {
      try {
        await transport.close();
      } finally {
        freeAll(queuePairs);
      }
    }
  }

  private setState(state: NetDeviceState): void {
    if (state === this.state) return;
    this.state = state;
    this.hooks.onState(state);
  }

  private get name(): string {
    return this.parts.transport.name;
  }
}
