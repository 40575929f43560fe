/** The common configuration structure of a modern PCI device (VIRTIO 1.3, 4.1.4.3). */
import type { DeviceAddress } from '../memory/dma.js';
import type { RegisterWindow } from '../pci/pci-function.js';
import type { VirtioStructure } from './virtio-capabilities.js';

type Access = 'read-only' | 'read-write';

/** A register: where it is in its structure, how wide it is, and whether a driver may write it. */
interface Register<A extends Access = Access> {
  readonly offset: number;
  readonly width: 1 | 2 | 4;
  readonly access: A;
}

const readOnly = (offset: number, width: 1 | 2 | 4): Register<'read-only'> => ({
  offset,
  width,
  access: 'read-only',
});
const readWrite = (offset: number, width: 1 | 2 | 4): Register<'read-write'> => ({
  offset,
  width,
  access: 'read-write',
});

/** struct virtio_pci_common_cfg, by the names of the specification. */
const REGISTERS = {
  deviceFeatureSelect: readWrite(0, 4),
  deviceFeature: readOnly(4, 4),
  driverFeatureSelect: readWrite(8, 4),
  driverFeature: readWrite(12, 4),
  configMsixVector: readWrite(16, 2),
  numQueues: readOnly(18, 2),
  deviceStatus: readWrite(20, 1),
  configGeneration: readOnly(21, 1),
  queueSelect: readWrite(22, 2),
  queueSize: readWrite(24, 2),
  queueMsixVector: readWrite(26, 2),
  queueEnable: readWrite(28, 2),
  queueNotifyOff: readOnly(30, 2),
  queueDesc: readWrite(32, 4),
  queueDriver: readWrite(40, 4),
  queueDevice: readWrite(48, 4),
  queueNotifConfigData: readOnly(56, 2),
  queueReset: readWrite(58, 2),
} as const;

/** Features that bring registers of their own with them, behind those that every device has. */
const NOTIF_CONFIG_DATA = { bit: 1n << 39n, name: 'VIRTIO_F_NOTIF_CONFIG_DATA', end: 58 } as const;
const RING_RESET = { bit: 1n << 40n, name: 'VIRTIO_F_RING_RESET', end: 60 } as const;

const UPPER_HALF = 4;
const FEATURE_WORDS = 2;
const FEATURE_WORD_BITS = 32;
const MAX_UINT32 = 0xffff_ffff;

/** Which of the three addresses of a queue is meant. */
export type QueueArea = 'queueDesc' | 'queueDriver' | 'queueDevice';

/**
 * The registers, each read and written with the width that it has. 64-bit ones are written as two halves.
 *
 * The registers of a queue are those of the queue that was selected last.
 */
export class CommonConfig {
  readonly #window: RegisterWindow;
  readonly #base: number;
  readonly #length: number;

  /**
   * @param window - the BAR that the structure lies in; it stays the caller's
   * @param structure - where the structure lies in it, and how long it is, in bytes
   */
  constructor(window: RegisterWindow, { offset, length }: Pick<VirtioStructure, 'offset' | 'length'>) {
    this.#window = window;
    this.#base = offset;
    this.#length = length;
  }

  /** The feature among these whose registers the structure is too short for; undefined where there is none. */
  featureWithoutRegisters(features: bigint): string | undefined {
    return [NOTIF_CONFIG_DATA, RING_RESET].find(
      ({ bit, end }) => (features & bit) !== 0n && this.#length < end,
    )?.name;
  }

  /** Feature bits 0 to 63 that the device offers. */
  readDeviceFeatures(): bigint {
    let features = 0n;
    for (let word = 0; word < FEATURE_WORDS; word++) {
      this.#write(REGISTERS.deviceFeatureSelect, word);
      features |= BigInt(this.#read(REGISTERS.deviceFeature)) << BigInt(word * FEATURE_WORD_BITS);
    }
    return features;
  }

  /** Writes feature bits 0 to 63 that the driver accepts. */
  writeDriverFeatures(features: bigint): void {
    for (let word = 0; word < FEATURE_WORDS; word++) {
      this.#write(REGISTERS.driverFeatureSelect, word);
      this.#write(
        REGISTERS.driverFeature,
        Number((features >> BigInt(word * FEATURE_WORD_BITS)) & BigInt(MAX_UINT32)),
      );
    }
  }

  get numQueues(): number {
    return this.#read(REGISTERS.numQueues);
  }

  get deviceStatus(): number {
    return this.#read(REGISTERS.deviceStatus);
  }

  set deviceStatus(status: number) {
    this.#write(REGISTERS.deviceStatus, status);
  }

  get configGeneration(): number {
    return this.#read(REGISTERS.configGeneration);
  }

  selectQueue(queue: number): void {
    this.#write(REGISTERS.queueSelect, queue);
  }

  get queueSize(): number {
    return this.#read(REGISTERS.queueSize);
  }

  set queueSize(size: number) {
    this.#write(REGISTERS.queueSize, size);
  }

  get queueEnabled(): boolean {
    return this.#read(REGISTERS.queueEnable) !== 0;
  }

  /** What VIRTIO_F_NOTIF_CONFIG_DATA has notifications name the selected queue by. */
  get queueNotifConfigData(): number {
    return this.#read(REGISTERS.queueNotifConfigData);
  }

  /** 1 while the reset of the selected queue is under way (VIRTIO_F_RING_RESET). */
  get queueReset(): number {
    return this.#read(REGISTERS.queueReset);
  }

  /** Asks for a reset of the selected queue. */
  resetQueue(): void {
    this.#write(REGISTERS.queueReset, 1);
  }

  /** Enables the selected queue; only a reset disables it again. */
  enableQueue(): void {
    this.#write(REGISTERS.queueEnable, 1);
  }

  get queueNotifyOff(): number {
    return this.#read(REGISTERS.queueNotifyOff);
  }

  writeQueueAddress(area: QueueArea, address: DeviceAddress): void {
    const { offset, width } = REGISTERS[area];
    this.#window.write(this.#base + offset, width, address.lo);
    this.#window.write(this.#base + offset + UPPER_HALF, width, address.hi);
  }

  /** Maps configuration changes to a vector; false where the device refused (VIRTIO 1.3, 4.1.5.1.2). */
  mapConfigVector(vector: number): boolean {
    return this.#mapVector(REGISTERS.configMsixVector, vector);
  }

  /** Maps the selected queue to a vector; false where the device refused. */
  mapQueueVector(vector: number): boolean {
    return this.#mapVector(REGISTERS.queueMsixVector, vector);
  }

  #mapVector(register: Register<'read-write'>, vector: number): boolean {
    this.#write(register, vector);
    return this.#read(register) === vector;
  }

  #read(register: Register): number {
    return this.#window.read(this.#base + register.offset, register.width);
  }

  #write(register: Register<'read-write'>, value: number): void {
    this.#window.write(this.#base + register.offset, register.width, value);
  }
}
