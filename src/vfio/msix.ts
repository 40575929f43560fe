/** Routing the MSI-X vectors of a VFIO device to handlers on the event loop. */
import { VfioError } from '../errors.js';
import type { EventFd } from '../native/event-fd.js';
import { shim } from '../native/shim.js';
import { MSIX_IRQ } from './constants.js';
import { forEachOf } from './each.js';
import { vfioCall } from './failures.js';
import { listenOnEvent, readIrqCount } from './irq.js';

export class MsixInterrupts {
  /** Number of vectors of the device. */
  readonly vectors: number;
  readonly #deviceFd: number;
  #events: EventFd[] = [];
  #keepAlive = true;

  constructor(deviceFd: number) {
    this.#deviceFd = deviceFd;
    this.vectors = readIrqCount(deviceFd, MSIX_IRQ);
  }

  /** @throws VfioError VFIO_CALL_FAILED; NativeError where there are no file descriptors left */
  enable(handlers: readonly (() => void)[]): void {
    if (handlers.length === 0 || handlers.length > this.vectors) {
      throw new RangeError(
        `The device has ${this.vectors} MSI-X vectors: no ${handlers.length} can be routed`,
      );
    }
    this.disable();
    const events: EventFd[] = [];
    try {
      for (const handler of handlers) events.push(listenOnEvent(handler, this.#keepAlive));
      this.#route(events);
    } catch (error) {
      closeAll(events);
      throw error;
    }
    this.#events = events;
  }

  /** In the kernel first: an eventfd that is closed before could have its number taken by another file. */
  disable(): void {
    const events = this.#events;
    if (events.length === 0) return;
    this.#events = [];
    const result = shim().vfio_irq_disable(this.#deviceFd, MSIX_IRQ);
    closeAll(events);
    vfioCall('VFIO_DEVICE_SET_IRQS (disabling MSI-X)', result);
  }

  setKeepAlive(keepAlive: boolean): void {
    this.#keepAlive = keepAlive;
    for (const event of this.#events) event.setKeepAlive(keepAlive);
  }

  #route(events: readonly EventFd[]): void {
    const fds = Int32Array.from(events, ({ fd }) => fd);
    const room = vfioCall(
      'VFIO_DEVICE_SET_IRQS (enabling MSI-X)',
      shim().vfio_irq_enable(this.#deviceFd, MSIX_IRQ, fds, fds.length),
    );
    if (room === 0) return;
    throw new VfioError(
      'VFIO_CALL_FAILED',
      `The system has only ${room} of ${fds.length} interrupt vectors left`,
      {
        syscall: 'VFIO_DEVICE_SET_IRQS',
        remedy: 'Use fewer queues, or free vectors of other devices.',
      },
    );
  }
}

function closeAll(events: readonly EventFd[]): void {
  forEachOf(events, (event) => event.close());
}
