/** Notifying a device behind PCI of new buffers: where, how wide, and with what (VIRTIO 1.3, 4.1.4.4 and 4.1.5.2). */
import type { DeviceError } from '../errors.js';
import type { RegisterWindow } from '../pci/pci-function.js';
import type { CommonConfig } from './common-config.js';
import { queueUnavailable } from './queue-sizes.js';
import type { SharedRegister } from './sharing.js';
import type { NotifyStructure } from './virtio-capabilities.js';

const NOTIFICATION_DATA = 1n << 38n;
const NOTIF_CONFIG_DATA = 1n << 39n;
/** Where the ring position begins in a notification of 32 bits. */
export const DATA_SHIFT = 16;

/** How one queue is notified. */
interface Doorbell {
  readonly window: RegisterWindow;
  /** In the window, in bytes. */
  readonly offset: number;
  /** What names the queue. */
  readonly id: number;
}

/** What the doorbells of a device are made of. */
export interface DoorbellParts {
  /** Which device this is, for messages. */
  readonly name: string;
  readonly structure: NotifyStructure;
  readonly common: CommonConfig;
  /** Gives a window onto the BAR of the structure in which `offset` can be written. */
  window(offset: number): RegisterWindow;
}

export class Doorbells {
  readonly #parts: DoorbellParts;
  #bells: (Doorbell | undefined)[] = [];
  /** 2 bytes for the queue, or 4 with the position in its ring above it. */
  #width: 2 | 4 = 2;
  #ownIds = false;

  constructor(parts: DoorbellParts) {
    this.#parts = parts;
  }

  /** Takes note of what the driver accepts. */
  negotiated(features: bigint): void {
    this.#width = (features & NOTIFICATION_DATA) === 0n ? 2 : 4;
    this.#ownIds = (features & NOTIF_CONFIG_DATA) !== 0n;
  }

  /**
   * Finds out how the selected queue is notified. The queue is not notified before `connect()` is given that.
   *
   * @throws DeviceError DEVICE_QUEUE_UNAVAILABLE
   */
  find(queue: number): Doorbell {
    const { common, structure } = this.#parts;
    const within = common.queueNotifyOff * structure.multiplier;
    this.#checkPlace(queue, within);
    const offset = structure.offset + within;
    const id = this.#ownIds ? common.queueNotifConfigData : queue;
    return { window: this.#parts.window(offset), offset, id };
  }

  connect(queue: number, doorbell: Doorbell): void {
    this.#bells[queue] = doorbell;
  }

  disconnect(queue: number): void {
    this.#bells[queue] = undefined;
  }

  isConnected(queue: number): boolean {
    return this.#bells[queue] !== undefined;
  }

  /** The device was reset. */
  forget(): void {
    this.#bells = [];
    this.negotiated(0n);
  }

  /** @param data - the position in the ring; used only where it was negotiated */
  ring(queue: number, data: number): void {
    const bell = this.#bells[queue];
    if (bell === undefined) throw this.#unavailable(queue, 'is not enabled');
    const value = this.#width === 2 ? bell.id : (bell.id | (data << DATA_SHIFT)) >>> 0;
    bell.window.write(bell.offset, this.#width, value);
  }

  /** Where another thread notifies a queue that is connected; undefined where it can not. */
  share(queue: number): SharedRegister | undefined {
    const bell = this.#bells[queue];
    if (bell === undefined) throw this.#unavailable(queue, 'is not enabled');
    const address = bell.window.share?.(bell.offset, this.#width);
    return address === undefined ? undefined : { address, width: this.#width, id: bell.id };
  }

  #checkPlace(queue: number, within: number): void {
    const { offset, length } = this.#parts.structure;
    if (within + this.#width > length) {
      throw this.#unavailable(
        queue,
        `is notified at ${within}, beyond the ${length} bytes for notifications`,
      );
    }
    if ((offset + within) % this.#width === 0) return;
    throw this.#unavailable(
      queue,
      `is notified at ${offset + within}, where ${this.#width} bytes are not aligned`,
    );
  }

  #unavailable(queue: number, what: string): DeviceError {
    return queueUnavailable(this.#parts.name, queue, what);
  }
}
