import { DeviceError } from '../errors.js';

/** What the status register of a device that is gone reads as: nobody drives the bus, so all bits are 1. */
export const GONE = 0xff;

/** Tells once, and on the event loop, that a device is taken away or has gone. */
export class Removal {
  #handler: (() => void) | undefined;
  #noticed = false;
  #told = false;

  /** A device that went before is told of now. */
  listen(handler: (() => void) | undefined): void {
    this.#handler = handler;
    this.#tell();
  }

  /** The device is asked for, or has gone. Calling it again does nothing. */
  notice(): void {
    this.#noticed = true;
    this.#tell();
  }

  /** The error to throw where a register shows that the device has gone. */
  gone(name: string): DeviceError {
    this.notice();
    return new DeviceError('DEVICE_REMOVED', `${name} no longer answers: its registers read as all ones`);
  }

  #tell(): void {
    if (!this.#noticed || this.#told || this.#handler === undefined) return;
    this.#told = true;
    setImmediate(() => this.#handler?.());
  }
}
