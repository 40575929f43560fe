/** Two ways to wait: for interrupts, with the event loop turning; and by polling the device. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { NetDevice } from 'virtio-net';

export interface Waiting {
  /** Aborted when the user interrupts the program. */
  readonly signal: AbortSignal;
  /** Whether the user has interrupted the program. */
  readonly interrupted: boolean;
  /** Waits until it is done, the time has come, or the program is interrupted. */
  until(time: number, done: () => boolean): Promise<void>;
  /** Something has happened: look whether that was what is waited for. */
  look(): void;
}

export class InterruptWaiting implements Waiting {
  readonly signal: AbortSignal;
  private check: () => void = () => undefined;

  constructor(signal: AbortSignal) {
    this.signal = signal;
    signal.addEventListener('abort', () => this.look());
  }

  get interrupted(): boolean {
    return this.signal.aborted;
  }

  look(): void {
    this.check();
  }

  until(time: number, done: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const finish = (): void => {
        clearTimeout(timer);
        this.check = () => undefined;
        resolve();
      };
      const timer = setTimeout(finish, Math.max(0, time - performance.now()));
      this.check = () => {
        if (this.interrupted || done()) finish();
      };
      this.check();
    });
  }
}

/** Polls without a pause; only to let Ctrl-C through, the event loop gets a turn now and then. */
const POLLS_PER_TURN = 1000;

export class PolledWaiting implements Waiting {
  private readonly device: NetDevice;
  readonly signal: AbortSignal;

  constructor(device: NetDevice, signal: AbortSignal) {
    this.device = device;
    this.signal = signal;
  }

  get interrupted(): boolean {
    return this.signal.aborted;
  }

  look(): void {
    // The loop below looks by itself.
  }

  async until(time: number, done: () => boolean): Promise<void> {
    while (!this.interrupted && !done() && performance.now() < time) {
      for (let poll = 0; poll < POLLS_PER_TURN && !done(); poll += 1) this.device.poll();
      await nextTurn();
    }
  }
}
