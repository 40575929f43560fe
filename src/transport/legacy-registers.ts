/** The registers of a legacy PCI device: all in I/O BAR 0 (VIRTIO 1.3, 4.1.4.10). */
import type { RegisterWindow } from '../pci/pci-function.js';
import type { InterruptRegisters } from './pci-interrupts.js';

/** Offset and width of each register, in bytes. */
const REGISTERS = {
  deviceFeatures: [0, 4],
  driverFeatures: [4, 4],
  queueAddress: [8, 4],
  queueSize: [12, 2],
  queueSelect: [14, 2],
  queueNotify: [16, 2],
  deviceStatus: [18, 1],
  isr: [19, 1],
  configVector: [20, 2],
  queueVector: [22, 2],
} as const;
type Name = keyof typeof REGISTERS;

/** Where the device-specific configuration begins: behind the vector registers, which are there with MSI-X on. */
const CONFIG_AT = { WITHOUT_MSIX: 20, WITH_MSIX: 24 } as const;

/**
 * The registers, each read and written with the width that it has. Those of a queue are of the queue that was
 * selected last.
 */
export class LegacyRegisters implements InterruptRegisters {
  readonly #window: RegisterWindow;
  #configAt: number = CONFIG_AT.WITHOUT_MSIX;

  /** @param window - onto BAR 0; it stays the caller's */
  constructor(window: RegisterWindow) {
    this.#window = window;
  }

  get deviceFeatures(): number {
    return this.#read('deviceFeatures');
  }

  set driverFeatures(features: number) {
    this.#write('driverFeatures', features);
  }

  get deviceStatus(): number {
    return this.#read('deviceStatus');
  }

  set deviceStatus(status: number) {
    this.#write('deviceStatus', status);
  }

  selectQueue(queue: number): void {
    this.#write('queueSelect', queue);
  }

  /** The size of the selected queue, which can not be changed; 0 where there is none. */
  get queueSize(): number {
    return this.#read('queueSize');
  }

  /** The address of the selected queue, as the number of a page of 4096 bytes; 0 while it is not in use. */
  get queueAddress(): number {
    return this.#read('queueAddress');
  }

  set queueAddress(frame: number) {
    this.#write('queueAddress', frame);
  }

  notify(queue: number): void {
    this.#write('queueNotify', queue);
  }

  readIsr(): number {
    return this.#read('isr');
  }

  noteMsix(on: boolean): void {
    this.#configAt = on ? CONFIG_AT.WITH_MSIX : CONFIG_AT.WITHOUT_MSIX;
  }

  mapConfigVector(vector: number): boolean {
    return this.#map('configVector', vector);
  }

  mapQueueVector(vector: number): boolean {
    return this.#map('queueVector', vector);
  }

  /** Where the device-specific configuration begins, in bytes. It moves when MSI-X is turned on or off. */
  get configAt(): number {
    return this.#configAt;
  }

  #map(name: 'configVector' | 'queueVector', vector: number): boolean {
    this.#write(name, vector);
    return this.#read(name) === vector;
  }

  #read(name: Name): number {
    const [offset, width] = REGISTERS[name];
    return this.#window.read(offset, width);
  }

  #write(name: Name, value: number): void {
    const [offset, width] = REGISTERS[name];
    this.#window.write(offset, width, value);
  }
}
