import { DeviceError } from '../errors.js';

/** What the status register of a device that is gone reads as: nobody drives the bus, so all bits are 1. */
const GONE = 0xff;
const BITS_PER_BYTE = 8;

/** Whether a device is still there; tells once, and on the event loop, when it is taken away or has gone. */
export class Presence {
  readonly #name: string;
  readonly #readStatus: () => number;
  #handler: (() => void) | undefined;
  #noticed = false;
  #told = false;

  /**
   * @param name - which device this is, for messages
   * @param readStatus - reads its status register
   */
  constructor(name: string, readStatus: () => number) {
    this.#name = name;
    this.#readStatus = readStatus;
  }

  /** The device status; undefined if the device has gone. */
  get statusIfThere(): number | undefined {
    const status = this.#readStatus();
    return status === GONE ? undefined : status;
  }

  /**
   * The device status.
   *
   * @throws DeviceError DEVICE_REMOVED; no status has all bits set
   */
  status(): number {
    const status = this.statusIfThere;
    if (status !== undefined) return status;
    this.notice();
    throw new DeviceError(
      'DEVICE_REMOVED',
      `${this.#name} no longer answers: its registers read as all ones`,
    );
  }

  /**
   * Gives on what was read from a register. Only where all bits of it are set is the status read too.
   *
   * @param width - of the register, in bytes
   * @throws DeviceError DEVICE_REMOVED
   */
  checked(value: number, width: number): number {
    if (value === 2 ** (width * BITS_PER_BYTE) - 1) this.status();
    return value;
  }

  /** Says whom to tell; a device that went before is told of now. */
  listen(handler: (() => void) | undefined): void {
    this.#handler = handler;
    this.#tell();
  }

  /** The device is asked for, or has gone. Calling it again does nothing. */
  notice(): void {
    this.#noticed = true;
    this.#tell();
  }

  #tell(): void {
    if (!this.#noticed || this.#told || this.#handler === undefined) return;
    this.#told = true;
    setImmediate(() => this.#handler?.());
  }
}
