/** Routing the MSI-X vectors of a VFIO device to handlers on the event loop. */
import { VfioError } from '../errors.js';
import type { EventFd } from '../native/event-fd.js';
import { shim } from '../native/shim.js';
import type { VectorTarget } from '../pci/pci-function.js';
import { MSIX_IRQ } from './constants.js';
import { forEachOf } from './each.js';
import { vfioCall } from './failures.js';
import { listenOnEvent, readIrqCount } from './irq.js';

export class MsixInterrupts {
  /** Number of vectors of the device. */
  readonly vectors: number;
  readonly #deviceFd: number;
  #events: EventFd[] = [];
  #enabled = false;
  #keepAlive = true;

  constructor(deviceFd: number) {
    this.#deviceFd = deviceFd;
    this.vectors = readIrqCount(deviceFd, MSIX_IRQ);
  }

  /** @throws VfioError VFIO_CALL_FAILED; NativeError where there are no file descriptors left */
  enable(targets: readonly VectorTarget[]): void {
    if (targets.length === 0 || targets.length > this.vectors) {
      throw new RangeError(
        `The device has ${this.vectors} MSI-X vectors: no ${targets.length} can be routed`,
      );
    }
    this.disable();
    const events: EventFd[] = [];
    const listen = (handler: () => void): number => {
      const event = listenOnEvent(handler, this.#keepAlive);
      events.push(event);
      return event.fd;
    };
    try {
      this.#route(targets.map((target) => (typeof target === 'function' ? listen(target) : target.fd)));
      this.#enabled = true;
    } catch (error) {
      closeAll(events);
      throw error;
    }
    this.#events = events;
  }

  /** In the kernel first: an eventfd that is closed before could have its number taken by another file. */
  disable(): void {
    if (!this.#enabled) return;
    const events = this.#events;
    this.#events = [];
    this.#enabled = false;
    const result = shim().vfio_irq_disable(this.#deviceFd, MSIX_IRQ);
    closeAll(events);
    vfioCall('VFIO_DEVICE_SET_IRQS (disabling MSI-X)', result);
  }

  setKeepAlive(keepAlive: boolean): void {
    this.#keepAlive = keepAlive;
    for (const event of this.#events) event.setKeepAlive(keepAlive);
  }

  #route(numbers: readonly number[]): void {
    const fds = Int32Array.from(numbers);
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
