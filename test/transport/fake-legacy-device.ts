/**
 * A legacy virtio network card behind a fake PCI function, made from the sections on the legacy interface alone
 * (VIRTIO 1.3, 4.1.4.10): all its registers in I/O BAR 0, and more of them while MSI-X is on.
 */
import type { AccessWidth } from '../../src/transport/transport.js';
import { FakePciFunction, readBytes } from './fake-pci-function.js';

export const NO_VECTOR = 0xffff;
const STATUS = 0x06;
const BAR_0 = 0x10;
const IO = 1;

export interface FakeLegacyOptions {
  readonly features?: number;
  readonly queueSizes?: readonly number[];
  readonly msixVectors?: number;
  readonly config?: Uint8Array;
  /** The length of BAR 0, in bytes. */
  readonly barSize?: number;
  /** Vectors from this one on are refused. */
  readonly refuseVectorsFrom?: number;
}

interface Queue {
  readonly size: number;
  frame: number;
  vector: number;
}

/** The registers by offset: width, and whether a driver may write it. */
interface Register {
  readonly name: string;
  readonly width: AccessWidth;
  readonly writable: boolean;
}
const HEADER: Readonly<Partial<Record<number, Register>>> = {
  0: { name: 'device features', width: 4, writable: false },
  4: { name: 'driver features', width: 4, writable: true },
  8: { name: 'queue address', width: 4, writable: true },
  12: { name: 'queue size', width: 2, writable: false },
  14: { name: 'queue select', width: 2, writable: true },
  16: { name: 'queue notify', width: 2, writable: true },
  18: { name: 'device status', width: 1, writable: true },
  19: { name: 'ISR', width: 1, writable: false },
};
const MSIX_HEADER: typeof HEADER = {
  20: { name: 'config vector', width: 2, writable: true },
  22: { name: 'queue vector', width: 2, writable: true },
};

export class FakeLegacyDevice {
  readonly pci: FakePciFunction;
  readonly config: Uint8Array;
  readonly notified: number[] = [];
  readonly violations: string[] = [];
  queues: Queue[] = [];
  status = 0;
  driverFeatures = 0;
  configVector = NO_VECTOR;
  isr = 0;
  isrReads = 0;
  /** Nobody answers any more: all bits read as 1. */
  gone = false;
  /** Runs before each read of the configuration. */
  beforeConfigRead: (offset: number) => void = () => undefined;
  readonly #options: FakeLegacyOptions;
  #selected = 0;

  constructor(options: FakeLegacyOptions = {}) {
    this.#options = options;
    this.config = options.config ?? new Uint8Array(12);
    const space = new Uint8Array(256);
    const view = new DataView(space.buffer);
    view.setUint16(0x00, 0x1af4, true);
    view.setUint16(0x02, 0x1000, true);
    view.setUint16(STATUS, 0, true);
    view.setUint32(BAR_0, 0xc000 | IO, true);
    this.pci = new FakePciFunction(space);
    this.pci.msixVectors = options.msixVectors ?? 4;
    this.pci.bars.set(0, {
      size: options.barSize ?? 64,
      read: (offset, width) => this.#read(offset, width),
      write: (offset, width, value) => this.#write(offset, width, value),
    });
    this.#reset();
  }

  get #msixOn(): boolean {
    return this.pci.handlers.length > 0;
  }

  get #selectedQueue(): Queue | undefined {
    return this.queues.at(this.#selected);
  }

  #reset(): void {
    this.status = 0;
    this.driverFeatures = 0;
    this.configVector = NO_VECTOR;
    this.queues = (this.#options.queueSizes ?? [256, 256, 64]).map((size) => ({
      size,
      frame: 0,
      vector: NO_VECTOR,
    }));
  }

  #register(offset: number, width: AccessWidth, writing: boolean): string | undefined {
    const register = HEADER[offset] ?? (this.#msixOn ? MSIX_HEADER[offset] : undefined);
    if (register === undefined) {
      if (offset < (this.#msixOn ? 24 : 20)) throw new Error(`no register at ${offset}`);
      return undefined;
    }
    const { name } = register;
    if (width !== register.width) this.violations.push(`${name} was accessed with ${width} bytes`);
    if (writing && !register.writable) this.violations.push(`${name} was written`);
    return name;
  }

  #configOffset(offset: number): number {
    return offset - (this.#msixOn ? 24 : 20);
  }

  #read(offset: number, width: AccessWidth): number {
    if (this.gone) return 2 ** (8 * width) - 1;
    switch (this.#register(offset, width, false)) {
      case 'device features':
        return this.#options.features ?? 0;
      case 'driver features':
        return this.driverFeatures;
      case 'queue address':
        return this.#selectedQueue?.frame ?? 0;
      case 'queue size':
        return this.#selectedQueue?.size ?? 0;
      case 'device status':
        return this.status;
      case 'ISR':
        return this.#takeIsr();
      case 'config vector':
        return this.configVector;
      case 'queue vector':
        return this.#selectedQueue?.vector ?? NO_VECTOR;
      case undefined:
        return this.#readConfig(this.#configOffset(offset), width);
      default:
        return 0;
    }
  }

  #readConfig(offset: number, width: AccessWidth): number {
    this.beforeConfigRead(offset);
    return offset + width <= this.config.length ? readBytes(this.config, offset, width) : 0;
  }

  #write(offset: number, width: AccessWidth, value: number): void {
    if (this.gone) return;
    const queue = this.#selectedQueue;
    switch (this.#register(offset, width, true)) {
      case 'driver features':
        this.driverFeatures = value;
        break;
      case 'queue address':
        this.#enable(queue, value);
        break;
      case 'queue select':
        this.#selected = value;
        break;
      case 'queue notify':
        if ((this.queues.at(value)?.frame ?? 0) === 0) this.violations.push(`queue ${value} is not enabled`);
        this.notified.push(value);
        break;
      case 'device status':
        this.#writeStatus(value);
        break;
      case 'config vector':
        this.configVector = this.#accepted(value);
        break;
      case 'queue vector':
        if (queue !== undefined) queue.vector = this.#accepted(value);
        break;
      case undefined:
        for (let at = 0; at < width; at++) {
          this.config[this.#configOffset(offset) + at] = Math.floor(value / 256 ** at) & 0xff;
        }
    }
  }

  #enable(queue: Queue | undefined, frame: number): void {
    if (queue === undefined || queue.size === 0 || queue.frame !== 0) {
      this.violations.push(`an address was written for queue ${this.#selected}`);
    }
    if (queue !== undefined) queue.frame = frame;
  }

  #accepted(vector: number): number {
    return vector >= (this.#options.refuseVectorsFrom ?? this.pci.handlers.length) ? NO_VECTOR : vector;
  }

  #takeIsr(): number {
    const { isr } = this;
    this.isr = 0;
    this.isrReads++;
    return isr;
  }

  #writeStatus(value: number): void {
    if ((value & 8) !== 0)
      this.violations.push('FEATURES_OK was set, which the legacy interface does not have');
    if (value === 0) {
      this.pci.events.push('status 0');
      this.#reset();
    } else {
      this.status = value;
    }
  }
}
