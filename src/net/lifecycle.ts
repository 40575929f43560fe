/**
 * The states of a device: starting, stopping, failing, recovering and closing it, one step after another.
 */
import { UsageError } from '../errors.js';
import type { Logger } from '../log.js';
import type { ConfigWatch } from './config-watch.js';
import { giveBack, haltAndReset, negotiateAgain, type DeviceParts } from './device-steps.js';
import type { FrameDispatch } from './frame-dispatch.js';
import { needsReset, resetDevice } from './initialisation.js';
import { framesLost } from './queue-reset.js';
import { isRemoval, Recovery } from './recovery.js';
import type { LostFrames, LostSetting, PairQueue, RecoveryReport } from './recovery-report.js';

/**
 * - `stopped`: open, and the device at rest
 * - `running`: frames go in and out
 * - `recovering`: the device is being reset, and will run again; until then no frame is received, and what is sent
 *   waits
 * - `failed`: the device broke the protocol or asked for a reset; `reset()`, or `stop()` and `start()`, bring it back
 * - `closed`: everything was given back
 */
export type NetDeviceState =
  'stopped' | 'starting' | 'running' | 'recovering' | 'failed' | 'stopping' | 'closed';

/** What a lifecycle is the life of. */
export interface LifecycleParts extends DeviceParts {
  readonly log: Logger;
  readonly config: ConfigWatch;
  readonly streams: FrameDispatch;
}

/** Tells the program what happens. None of them throws. */
export interface LifecycleHooks {
  onState(state: NetDeviceState): void;
  onError(error: Error): void;
  onRecovered(report: RecoveryReport): void;
  onRemoved(): void;
  onClose(): void;
  /** Queue pairs came back from other threads. */
  onPairsChanged(): void;
}

export class Lifecycle {
  state: NetDeviceState = 'stopped';
  readonly parts: LifecycleParts;
  readonly hooks: LifecycleHooks;
  private readonly recovery: Recovery;
  /** Whether the device is negotiated and at rest, as `open()` leaves it, so that `start()` need not do that. */
  private fresh = true;
  private failure: Error | undefined;
  /** Why the other end of the transport is away, while it is. */
  private absence: Error | undefined;
  /** What is said of a device that was taken away. */
  private removal: Error | undefined;
  /** The last of start, stop, reset and close: they run one after another. */
  private transition: Promise<void> = Promise.resolve();
  private closing: Promise<void> | undefined;

  constructor(parts: LifecycleParts, hooks: LifecycleHooks) {
    this.parts = parts;
    this.hooks = hooks;
    this.recovery = new Recovery(this);
  }

  start(): Promise<void> {
    return this.inTurn(() => this.startNow());
  }

  stop(): Promise<void> {
    return this.inTurn(() => this.stopNow());
  }

  /** Resets a device that runs or has failed, and brings it back with all of its settings. */
  reset(): Promise<RecoveryReport> {
    return this.inTurn(() => this.recovery.reset(this.failure));
  }

  /** Resets one queue of a running device that has VIRTIO_F_RING_RESET. */
  resetQueue(queue: PairQueue): Promise<RecoveryReport> {
    return this.inTurn(() => this.recovery.resetQueue(queue));
  }

  /** A device that was taken away is closed already, or soon: then it waits for that. */
  close(): Promise<void> {
    if (this.state === 'closed' && this.removal === undefined) {
      return Promise.reject(new UsageError('DEVICE_ALREADY_CLOSED', `${this.name} is closed`));
    }
    this.closing ??= this.queueTransition(() => this.closeNow());
    return this.closing;
  }

  /**
   * Runs a step that belongs between those of the lifecycle, such as a command to the device.
   *
   * @throws UsageError DEVICE_CLOSED, and what the step throws
   */
  async inTurn<T>(step: () => T | Promise<T>): Promise<T> {
    this.checkOpen();
    return this.queueTransition(step);
  }

  /** @throws UsageError DEVICE_CLOSED; DeviceError DEVICE_REMOVED */
  checkOpen(): void {
    if (this.state === 'closed' || this.closing !== undefined) {
      throw this.removal ?? new UsageError('DEVICE_CLOSED', `${this.name} is closed`);
    }
  }

  /** Why nothing can be sent or received now. */
  notRunning(): Error {
    if (this.removal !== undefined) return this.removal;
    if (this.state === 'closed') return new UsageError('DEVICE_CLOSED', `${this.name} is closed`);
    return this.failure ?? new UsageError('DEVICE_NOT_STARTED', `${this.name} is ${this.state}`);
  }

  /**
   * What a burst does on a device that is not running: nothing while it recovers.
   *
   * @returns 0
   * @throws why nothing can be sent or received, if it does not recover
   */
  idle(): 0 {
    if (this.state === 'recovering') return 0;
    throw this.notRunning();
  }

  get isRecovering(): boolean {
    return this.state === 'recovering';
  }

  /** @throws why nothing can be sent, unless the device runs or is about to */
  checkSendable(): void {
    if (this.state !== 'running') this.idle();
  }

  /** Takes the device out of use if one of its queues is broken. */
  failIfBroken(): void {
    const { broken } = this.parts.datapath;
    if (broken !== undefined) this.fail(broken);
  }

  /** @throws what the device failed of, unless it recovers from that */
  throwIfBroken(): void {
    this.failIfBroken();
    if (this.failure !== undefined) throw this.failure;
  }

  /** @throws what the device failed of, if that is its state */
  throwIfFailed(): void {
    if (this.state === 'failed' && this.failure !== undefined) throw this.failure;
  }

  /** Something is wrong with the running device: takes it out of use, or has it recover, as the program has chosen. */
  fail(error: Error): void {
    if (isRemoval(error)) {
      this.remove(error);
    } else if (this.state === 'running') {
      if (this.parts.settings.recovery === 'manual') this.failNow(error);
      else this.recovery.recoverFrom(error);
    }
  }

  /** The device has gone, or is asked back: everything is given back. */
  remove(error: Error): void {
    if (this.removal !== undefined || this.closing !== undefined || this.state === 'closed') return;
    this.removal = error;
    this.parts.log.warn({ err: error }, 'device was taken away');
    if (this.state === 'running' || this.state === 'recovering') this.takeOutOfUse(error);
    else this.parts.streams.fail(error);
    this.hooks.onRemoved();
    this.closing = this.queueTransition(() => this.closeNow()).catch((closeError: unknown) => {
      this.parts.log.error({ err: closeError }, 'not everything of the device that is gone was given back');
    });
  }

  /** The other end of the transport is away. Whatever it has not finished it gets again when it is back. */
  goAway(reason: Error): void {
    this.absence = reason;
    if (this.state !== 'running') return;
    const { config, log } = this.parts;
    try {
      config.look();
    } catch (error) {
      log.debug({ err: error }, 'configuration could not be read of a device that is away');
    }
    // Whoever was told of the link may have stopped the device.
    if (this.isRunning()) this.beginRecovery(true);
  }

  /** The other end is back: the device goes on, if it was running. */
  comeBack(): void {
    const reason = this.absence;
    this.absence = undefined;
    this.queueTransition(() => this.recovery.resume(reason)).catch((error: unknown) => {
      this.parts.log.error({ err: error }, 'device could not go on with its backend');
    });
  }

  /** Takes the device out of use, whatever was chosen for that, and tells everybody who waits. */
  failNow(error: Error): void {
    this.parts.log.error({ err: error }, 'device failed');
    this.takeOutOfUse(error);
    this.hooks.onError(error);
  }

  /** As {@link failNow}, for an error that the program is told of in another way. */
  takeOutOfUse(error: Error): void {
    this.failure = error;
    this.haltQuietly();
    this.setState('failed');
    this.parts.datapath.failSenders(error);
    this.parts.streams.fail(error);
  }

  /**
   * Leaves a device alone that is to be reset and to run again; those who wait go on waiting.
   *
   * @param keep - whether it is to go on with what it has not finished
   */
  beginRecovery(keep = false): void {
    this.failure = undefined;
    this.parts.datapath.pause(keep);
    this.haltQuietly();
    this.setState('recovering');
  }

  private haltQuietly(): void {
    this.parts.control.halt(this.failure);
    try {
      this.parts.datapath.halt();
    } catch (error) {
      this.parts.log.error({ err: error }, 'interrupts of the failed device could not be turned off');
    }
  }

  /** Runs a step after all earlier ones have ended, whether or not those failed. */
  queueTransition<T>(step: () => T | Promise<T>): Promise<T> {
    const turn = this.transition.then(step);
    this.transition = turn.then(
      () => undefined,
      (error: unknown) => {
        if (isRemoval(error)) this.remove(error);
      },
    );
    return turn;
  }

  private async startNow(): Promise<void> {
    if (this.state !== 'stopped') {
      throw new UsageError('DEVICE_ALREADY_STARTED', `${this.name} is ${this.state}`);
    }
    this.setState('starting');
    try {
      await this.bringUp();
    } catch (error) {
      await this.comeToRest().catch((restError: unknown) => {
        this.parts.log.error({ err: restError }, 'device that did not start could not be stopped either');
      });
      throw error;
    }
  }

  /**
   * From a device that was reset to one that runs; says which settings it did not take. What it refused is forgotten. A
   * program that starts a device must find it as it was set, so that fails then; the next start goes without.
   */
  async bringUp(): Promise<LostSetting[]> {
    const { config, datapath, transport, settings } = this.parts;
    const before = config.current;
    if (needsReset(transport)) {
      // It has failed since it was reset: it would take the negotiation, and do nothing.
      await resetDevice(transport, settings.resetTimeout);
      this.fresh = false;
    }
    datapath.takeBack(() => this.hooks.onPairsChanged());
    if (!this.fresh) negotiateAgain(this.parts);
    this.fresh = false;
    datapath.enable();
    const lostSettings = await this.restoreSettings();
    if (this.removal !== undefined) throw this.removal;
    // Of changes on a device that is not running nobody is told: not while it was at rest, nor while it was set.
    config.reread();
    if (this.state === 'starting' && lostSettings.length > 0) throw lostSettings[0].error;
    this.setState('running');
    // Whoever was told of the state may have found the device broken.
    if (this.isRunning()) datapath.start();
    config.tell(before);
    datapath.lookAtConfig();
    // It may have gone before anybody could be told to pause.
    if (this.absence !== undefined) this.goAway(this.absence);
    return lostSettings;
  }

  private async restoreSettings(): Promise<LostSetting[]> {
    const { control, log } = this.parts;
    const lost = await control.restore();
    for (const { setting, error } of lost) log.error({ err: error }, `device did not take its ${setting}`);
    return lost;
  }

  private async stopNow(): Promise<void> {
    if (this.state === 'stopped') return;
    const { datapath, settings, log } = this.parts;
    const wasRunning = this.state === 'running';
    this.setState('stopping');
    datapath.failSenders(
      this.removal ?? this.failure ?? new UsageError('DEVICE_NOT_STARTED', `${this.name} was stopped`),
    );
    if (wasRunning) {
      const lost = await datapath.drain(settings.drainTimeout);
      if (lost > 0) log.warn({ frames: lost }, 'device did not send all frames before it was stopped');
    }
    await this.comeToRest();
  }

  private async comeToRest(): Promise<void> {
    try {
      await this.resetNow(undefined);
    } catch (error) {
      this.failure = error as Error;
      this.setState('failed');
      throw error;
    }
    this.failure = undefined;
    this.setState('stopped');
  }

  /**
   * Resets the device and takes the buffers back. Nothing is freed as long as the device may still use it.
   *
   * @param reason - what is wrong with the device, if anything is
   * @returns what was lost with the buffers
   */
  async resetNow(reason: Error | undefined): Promise<LostFrames[]> {
    const { datapath, queuePairs, control, config, transport, leases } = this.parts;
    this.fresh = false;
    await haltAndReset(this.parts);
    control.reset();
    config.reset();
    const lost = queuePairs.map((pair) => {
      const ours = pair.reset();
      return leases.get(pair.number)?.takeLost() ?? ours;
    });
    for (const { queuePair, transmit } of lost) {
      // Those that a worker waits for it knows of itself.
      if (transmit > 0 && leases.get(queuePair) === undefined)
        datapath.pairs[queuePair].sender.failFlushes(framesLost(transport, reason));
    }
    return lost;
  }

  /** Resets the device, and takes all out of its queues that it is to be given again. */
  async resetAndKeep(): Promise<LostFrames[]> {
    const { queuePairs, control, config, leases } = this.parts;
    this.fresh = false;
    await haltAndReset(this.parts);
    control.reset();
    config.reset();
    return queuePairs.map((pair) => {
      pair.setAside();
      return leases.get(pair.number)?.takeLost() ?? { queuePair: pair.number, receive: 0, transmit: 0 };
    });
  }

  private async closeNow(): Promise<void> {
    const { parts } = this;
    parts.streams.end();
    const atRest = await this.bringToRest();
    await parts.leases.end(parts.settings.drainTimeout);
    try {
      await giveBack(parts, atRest);
    } finally {
      this.setState('closed');
      parts.log.info({}, 'device closed');
      this.hooks.onClose();
    }
  }

  /** Stops and resets the device, whatever its state; says whether that worked. */
  private async bringToRest(): Promise<boolean> {
    const { transport, settings, log } = this.parts;
    try {
      await this.stopNow();
      if (this.fresh || needsReset(transport)) await resetDevice(transport, settings.resetTimeout);
      return true;
    } catch (error) {
      log.error({ err: error }, 'device could not be stopped before it was closed');
      return false;
    }
  }

  private setState(state: NetDeviceState): void {
    if (state === this.state) return;
    this.state = state;
    this.hooks.onState(state);
  }

  isRunning(): boolean {
    return this.state === 'running';
  }

  private get name(): string {
    return this.parts.transport.name;
  }
}
