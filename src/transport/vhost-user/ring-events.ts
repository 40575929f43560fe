/** The eventfds of the rings: by which the backend is notified, and by which it interrupts. */
import { EventFd } from '../../native/event-fd.js';
import { shim } from '../../native/shim.js';
import { forEachOf } from '../../vfio/each.js';
import type { InterruptHandlers } from '../transport.js';

export class RingEvents {
  readonly #kicks = new Map<number, EventFd>();
  /** Interrupts, by queue; empty while there are none. */
  #calls = new Map<number, EventFd>();
  #handlers: InterruptHandlers | undefined;
  /** Signalled by the backend when it has met an error in any ring. */
  #errors: EventFd | undefined;
  #keepAlive = true;

  /** What signals the backend; made when it is first asked for. */
  kickOf(queue: number): number {
    const kick = this.#kicks.get(queue) ?? EventFd.create();
    this.#kicks.set(queue, kick);
    return kick.fd;
  }

  /** What the backend signals when it has used buffers; undefined where it is to be polled. */
  callOf(queue: number): number | undefined {
    return this.#handlers?.eventFd?.(queue) ?? this.#calls.get(queue)?.fd;
  }

  /** What the backend signals when it can not go on with a ring. */
  get errorFd(): number {
    this.#errors ??= EventFd.create();
    return this.#errors.fd;
  }

  /** Whether it has, since the last look. */
  takeError(): boolean {
    return this.#errors !== undefined && this.#errors.drain() > 0;
  }

  /** @param onError - called when the backend has met an error in a ring */
  enable(queues: number, handlers: InterruptHandlers, onError: () => void): void {
    this.disable();
    this.#handlers = handlers;
    try {
      for (let queue = 0; queue < queues; queue += 1) {
        if (handlers.eventFd?.(queue) !== undefined) continue;
        const call = EventFd.create();
        this.#calls.set(queue, call);
        call.setKeepAlive(this.#keepAlive);
        call.listen(() => handlers.queue(queue));
      }
      this.#errors ??= EventFd.create();
      this.#errors.setKeepAlive(false);
      this.#errors.listen(onError);
    } catch (error) {
      this.disable();
      throw error;
    }
  }

  disable(): void {
    const calls = [...this.#calls.values()];
    this.#calls = new Map();
    this.#handlers = undefined;
    const errors = this.#errors;
    this.#errors = undefined;
    forEachOf(errors === undefined ? calls : [...calls, errors], (event) => event.close());
  }

  setKeepAlive(keepAlive: boolean): void {
    this.#keepAlive = keepAlive;
    for (const call of this.#calls.values()) call.setKeepAlive(keepAlive);
  }

  close(): void {
    try {
      this.disable();
    } finally {
      const kicks = [...this.#kicks.values()];
      this.#kicks.clear();
      forEachOf(kicks, (kick) => kick.close());
    }
  }
}

/** Notifies the backend of new buffers. */
export function signalKick(fd: number): void {
  // It can only fail where the counter is full, and then the backend knows.
  shim().eventfd_signal(fd);
}
