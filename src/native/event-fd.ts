/** An eventfd, and waiting for it on the event loop. */
import { checked } from './errno.js';
import { adoptFd, closeFd } from './file-descriptor.js';
import { EventPoll } from './node-functions.js';
import { shim } from './shim.js';

/** A counter in the kernel that wakes the event loop up, and that a device's interrupt can be routed to. */
export class EventFd {
  readonly fd: number;
  #poll: EventPoll | undefined;
  #handler: (() => void) | undefined;
  #keepAlive = true;
  #open = true;

  private constructor(fd: number) {
    this.fd = fd;
  }

  /** @throws NativeError NATIVE_CALL_FAILED, with EMFILE where the limit on open files is reached */
  static create(): EventFd {
    return new EventFd(adoptFd(checked('eventfd', shim().eventfd_create())));
  }

  /** Adds 1 to the counter, as an interrupt does. */
  signal(): void {
    this.#requireOpen();
    checked('write to an eventfd', shim().eventfd_signal(this.fd));
  }

  /** The number of signals since the last drain, which sets it back to 0. */
  drain(): number {
    this.#requireOpen();
    return checked('read of an eventfd', shim().eventfd_drain(this.fd));
  }

  /**
   * Calls `handler` on the event loop, with the counter drained, whenever it was signalled. Signals that come
   * close together lead to one call. What the handler throws is an uncaught exception, as in a timer, and the
   * next signal calls it again. Replaces the handler that was there.
   */
  listen(handler: () => void): void {
    this.#requireOpen();
    this.#handler = handler;
    if (this.#poll !== undefined) return;
    this.#poll = new EventPoll(this.fd, () => this.#handler?.());
    this.#poll.setKeepAlive(this.#keepAlive);
  }

  /** Whether listening keeps the event loop alive; true at first. */
  setKeepAlive(keepAlive: boolean): void {
    this.#keepAlive = keepAlive;
    this.#poll?.setKeepAlive(keepAlive);
  }

  /** Stops listening and closes the fd; the handler does not run any more. Calling it again does nothing. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#handler = undefined;
    // Before the fd: libuv must not wait for a number that another file may get next.
    this.#poll?.close();
    this.#poll = undefined;
    closeFd(this.fd);
  }

  #requireOpen(): void {
    if (!this.#open) throw new RangeError('The eventfd is closed');
  }
}
