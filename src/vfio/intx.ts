/** Routing the interrupt pin of a VFIO device to a handler on the event loop. */
import type { Logger } from '../log.js';
import type { EventFd } from '../native/event-fd.js';
import { shim } from '../native/shim.js';
import { INTX_IRQ } from './constants.js';
import { vfioCall } from './failures.js';
import { listenOnEvent, readIrqCount } from './irq.js';

export class IntxInterrupt {
  /** Whether the device has an interrupt pin that can be routed. */
  readonly exists: boolean;
  readonly #deviceFd: number;
  readonly #log: Logger;
  #event: EventFd | undefined;
  #keepAlive = true;

  constructor(deviceFd: number, log: Logger) {
    this.#deviceFd = deviceFd;
    this.#log = log;
    this.exists = readIrqCount(deviceFd, INTX_IRQ) > 0;
  }

  /** @throws VfioError VFIO_CALL_FAILED; NativeError where there are no file descriptors left */
  enable(handler: () => void): void {
    if (!this.exists) throw new RangeError('The device has no interrupt pin');
    this.disable();
    const event = listenOnEvent(() => this.#handle(event, handler), this.#keepAlive);
    try {
      const fds = Int32Array.of(event.fd);
      vfioCall(
        'VFIO_DEVICE_SET_IRQS (enabling INTx)',
        shim().vfio_irq_enable(this.#deviceFd, INTX_IRQ, fds, 1),
      );
    } catch (error) {
      event.close();
      throw error;
    }
    this.#event = event;
  }

  /** In the kernel first: an eventfd that is closed before could have its number taken by another file. */
  disable(): void {
    const event = this.#event;
    if (event === undefined) return;
    this.#event = undefined;
    const result = shim().vfio_irq_disable(this.#deviceFd, INTX_IRQ);
    event.close();
    vfioCall('VFIO_DEVICE_SET_IRQS (disabling INTx)', result);
  }

  setKeepAlive(keepAlive: boolean): void {
    this.#keepAlive = keepAlive;
    this.#event?.setKeepAlive(keepAlive);
  }

  /** The kernel has masked the pin, whose level stays up until the device is asked why: that is the handler's part. */
  #handle(event: EventFd, handler: () => void): void {
    if (this.#event !== event) return;
    try {
      handler();
    } finally {
      // The handler may have turned interrupts off, and on again, which unmasks.
      if (this.#event === event) this.#unmask();
    }
  }

  /** The event loop is above, and nobody there to catch an error, which a device that is being unplugged may cause. */
  #unmask(): void {
    try {
      vfioCall('VFIO_DEVICE_SET_IRQS (unmasking INTx)', shim().vfio_irq_unmask(this.#deviceFd, INTX_IRQ));
    } catch (error) {
      this.#log.error({ err: error }, 'INTx stays masked: no interrupt of the device arrives any more');
    }
  }
}
