/** The kernel asks for a device back, because it is unplugged or unbound, and waits until it is closed. */
import type { EventFd } from '../native/event-fd.js';
import { shim } from '../native/shim.js';
import { REQUEST_IRQ } from './constants.js';
import { vfioCall } from './failures.js';
import { listenOnEvent, readIrqCount } from './irq.js';

export class RemovalRequest {
  readonly #deviceFd: number;
  #handler: (() => void) | undefined;
  #event: EventFd | undefined;

  constructor(deviceFd: number) {
    this.#deviceFd = deviceFd;
  }

  /**
   * Replaces the handler that was there. A kernel that can not ask (before 4.0) never calls it.
   *
   * @throws VfioError VFIO_CALL_FAILED; NativeError where there are no file descriptors left
   */
  listen(handler: (() => void) | undefined): void {
    this.#handler = handler;
    if (handler === undefined) this.close();
    else this.#event ??= this.#route();
  }

  /** No handler is called any more. Calling it again does nothing. */
  close(): void {
    const event = this.#event;
    this.#handler = undefined;
    this.#event = undefined;
    if (event === undefined) return;
    const result = shim().vfio_irq_disable(this.#deviceFd, REQUEST_IRQ);
    event.close();
    vfioCall('VFIO_DEVICE_SET_IRQS (disabling the request interrupt)', result);
  }

  #route(): EventFd | undefined {
    if (readIrqCount(this.#deviceFd, REQUEST_IRQ) === 0) return undefined;
    const event = listenOnEvent(() => this.#call(), false);
    try {
      vfioCall(
        'VFIO_DEVICE_SET_IRQS (enabling the request interrupt)',
        shim().vfio_irq_enable(this.#deviceFd, REQUEST_IRQ, Int32Array.of(event.fd), 1),
      );
      return event;
    } catch (error) {
      event.close();
      throw error;
    }
  }

  /** The kernel asks again every few seconds; to be told once is enough. */
  #call(): void {
    const handler = this.#handler;
    this.#handler = undefined;
    handler?.();
  }
}
