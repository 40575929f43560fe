/**
 * Bringing a device back that has failed, or one of its queues: when the program asks for it, or by itself.
 */
import { DeviceError, VirtioNetError } from '../errors.js';
import type { Lifecycle, NetDeviceState } from './lifecycle.js';
import { enableQueueAgain, resetQueue } from './queue-reset.js';
import { MOST_RECOVERIES, RECOVERY_WINDOW_MS, RecoveryLimit } from './recovery-limit.js';
import type { LostFrames, PairQueue, RecoveryReport } from './recovery-report.js';

/** Why a device or queue is reset. */
interface Occasion {
  readonly reason: Error | undefined;
  readonly automatic: boolean;
}

/** States in which a device can be reset as a whole. */
const RESETTABLE: ReadonlySet<NetDeviceState> = new Set(['running', 'recovering', 'failed']);

export class Recovery {
  private readonly lifecycle: Lifecycle;
  private readonly limit = new RecoveryLimit();

  constructor(lifecycle: Lifecycle) {
    this.lifecycle = lifecycle;
  }

  /** Resets the device, as the program asks for; to be called in turn. */
  reset(reason: Error | undefined): Promise<RecoveryReport> {
    const { lifecycle } = this;
    // One that is recovering already, of something that came up before this turn, is reset just as well.
    if (!RESETTABLE.has(lifecycle.state)) throw lifecycle.notRunning();
    lifecycle.beginRecovery();
    return this.recover({ reason, automatic: false });
  }

  /** Resets one queue, as the program asks for; to be called in turn. */
  resetQueue(queue: PairQueue): Promise<RecoveryReport> {
    const { lifecycle } = this;
    if (lifecycle.state !== 'running') throw lifecycle.notRunning();
    this.pairOf(queue).pause(queue.direction);
    return this.recoverQueue(queue, { reason: undefined, automatic: false });
  }

  /** Has a running device recover from an error: the queue alone that broke, where the device can do that. */
  recoverFrom(error: Error): void {
    const { lifecycle } = this;
    const { datapath, features, log } = lifecycle.parts;
    if (!this.limit.allows(performance.now())) {
      lifecycle.failNow(givenUp(lifecycle.parts.transport.name, error));
      return;
    }
    log.warn({ err: error }, 'device failed, and is reset');
    const queue = features.has('VIRTIO_F_RING_RESET') ? datapath.queueBrokenBy(error) : undefined;
    if (queue === undefined) lifecycle.beginRecovery();
    else this.pairOf(queue).pause(queue.direction);
    lifecycle
      .queueTransition(() => this.recoverInTurn(queue, error))
      .catch((recoveryError: unknown) => {
        log.error({ err: recoveryError }, 'device did not recover');
      });
  }

  /** Goes on with a device whose other end is back, with all that it had not finished; to be called in turn. */
  async resume(reason: Error | undefined): Promise<void> {
    const { lifecycle } = this;
    // It may have been stopped, reset or closed meanwhile.
    if (lifecycle.state !== 'recovering') return;
    const occasion = { reason, automatic: true };
    try {
      const lost = await lifecycle.resetAndKeep();
      const lostSettings = await lifecycle.bringUp();
      this.tell({ ...occasion, queue: undefined, lost, lostSettings });
    } catch (error) {
      // If it is away again, there will be another time.
      if (!this.isAway) await this.giveUp(error as Error, occasion);
    }
  }

  private async recoverInTurn(queue: PairQueue | undefined, reason: Error): Promise<void> {
    const { state } = this.lifecycle;
    const occasion = { reason, automatic: true };
    // It may have been stopped or reset meanwhile, or be gone: then there is nothing left to do.
    if (queue === undefined) {
      if (state === 'recovering') await this.recover(occasion);
    } else if (state === 'running' && this.pairOf(queue).isPaused(queue.direction)) {
      await this.recoverQueue(queue, occasion);
    }
  }

  private async recover(occasion: Occasion): Promise<RecoveryReport> {
    const { lifecycle } = this;
    try {
      const lost = await lifecycle.resetNow(occasion.reason);
      const lostSettings = await lifecycle.bringUp();
      return this.tell({ ...occasion, queue: undefined, lost, lostSettings });
    } catch (error) {
      // What was to recover by itself does so when the other end is back.
      if (!occasion.automatic || !this.isAway) await this.giveUp(error as Error, occasion);
      throw error;
    }
  }

  private get isAway(): boolean {
    return this.lifecycle.parts.transport.isAway === true;
  }

  /** The device did not come back. It is left at rest, if it can be brought there. */
  private async giveUp(error: Error, { reason, automatic }: Occasion): Promise<void> {
    const { lifecycle } = this;
    await lifecycle.resetNow(reason).catch((resetError: unknown) => {
      lifecycle.parts.log.error({ err: resetError }, 'device that did not recover could not be reset either');
    });
    // Of a removal those who wait are told as soon as this turn has ended.
    if (isRemoval(error)) return;
    if (automatic) lifecycle.failNow(error);
    else lifecycle.takeOutOfUse(error);
  }

  private async recoverQueue(queue: PairQueue, occasion: Occasion): Promise<RecoveryReport> {
    const { lifecycle } = this;
    const { control } = lifecycle.parts;
    let lost: LostFrames;
    try {
      lost = await control.betweenSettings(() => this.resetQueueNow(queue));
    } catch (error) {
      lifecycle.fail(error as Error);
      throw error;
    }
    const lostSettings = await control.restoreQueue(queue);
    return this.tell({ ...occasion, queue, lost: [lost], lostSettings });
  }

  private async resetQueueNow(queue: PairQueue): Promise<LostFrames> {
    const { lifecycle } = this;
    const { transport, settings } = lifecycle.parts;
    const pair = this.pairOf(queue);
    if (!lifecycle.isRunning()) throw lifecycle.notRunning();
    const lost = await resetQueue(transport, pair, queue.direction, settings.resetTimeout);
    // A device that failed meanwhile is not given the queue again.
    if (!lifecycle.isRunning()) throw lifecycle.notRunning();
    enableQueueAgain(transport, pair, queue.direction);
    return lost;
  }

  private tell(report: RecoveryReport): RecoveryReport {
    const { log } = this.lifecycle.parts;
    log.info({ queue: report.queue, lost: report.lost }, 'reset done, the device goes on');
    this.lifecycle.hooks.onRecovered(report);
    return report;
  }

  private pairOf({ queuePair }: PairQueue) {
    return this.lifecycle.parts.datapath.pairs[queuePair];
  }
}

/** Whether the error says that the device has gone. */
export function isRemoval(error: unknown): error is VirtioNetError {
  return error instanceof VirtioNetError && error.code === 'DEVICE_REMOVED';
}

function givenUp(name: string, cause: Error): DeviceError {
  const what = `${name} failed more than ${MOST_RECOVERIES} times within ${RECOVERY_WINDOW_MS / 1000} s`;
  return new DeviceError('RECOVERY_GIVEN_UP', `${what}, the last time so: ${cause.message}`, { cause });
}
