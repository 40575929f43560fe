/** Just enough of a virtio driver to make a card do DMA and interrupt: one transmit queue, one frame at a time. */
import type { DmaRegion } from '../../../src/memory/dma.js';
import type { PciFunction, RegisterWindow } from '../../../src/pci/pci-function.js';

/** QEMU has the common configuration, and the notification area at 0x3000, in BAR 4. */
const BAR = 4;
const NOTIFY = 0x3000;
const NOTIFY_MULTIPLIER = 4;
const COMMON = {
  deviceFeatureSelect: 0,
  deviceFeature: 4,
  driverFeatureSelect: 8,
  driverFeature: 12,
  deviceStatus: 20,
  queueSelect: 22,
  queueSize: 24,
  queueVector: 26,
  queueEnable: 28,
  queueDesc: 32,
  queueDriver: 40,
  queueDevice: 48,
} as const;
/** VIRTIO_F_VERSION_1 and VIRTIO_F_ACCESS_PLATFORM, of the upper 32 feature bits. */
const FEATURES_HIGH = 3;
const TX_QUEUE = 1;
const QUEUE_SIZE = 8;
const AVAILABLE_RING = 1024;
const USED_RING = 2048;
const FRAME = 4096;
const HEADER_BYTES = 12;
const FRAME_BYTES = 60;

export class TransmitProbe {
  readonly #bar: RegisterWindow;
  readonly #region: DmaRegion;
  readonly #words: Uint16Array;
  #sent = 0;

  constructor(pciFunction: PciFunction) {
    this.#bar = pciFunction.openBar(BAR);
    this.#region = pciFunction.memory.allocate(8192);
    this.#words = new Uint16Array(this.#region.buffer);
  }

  get bar(): RegisterWindow {
    return this.#bar;
  }

  get region(): DmaRegion {
    return this.#region;
  }

  /** Upper half of the features that the device offers. */
  featuresHigh(): number {
    this.#bar.write(COMMON.deviceFeatureSelect, 4, 1);
    return this.#bar.read(COMMON.deviceFeature, 4);
  }

  /** Initialises the device with its transmit queue on the MSI-X vector; returns the status. */
  start(vector: number): number {
    this.reset();
    this.#bar.write(COMMON.deviceStatus, 1, 3);
    this.#bar.write(COMMON.driverFeatureSelect, 4, 0);
    this.#bar.write(COMMON.driverFeature, 4, 0);
    this.#bar.write(COMMON.driverFeatureSelect, 4, 1);
    this.#bar.write(COMMON.driverFeature, 4, FEATURES_HIGH);
    this.#bar.write(COMMON.deviceStatus, 1, 11);
    this.#bar.write(COMMON.queueSelect, 2, TX_QUEUE);
    this.#bar.write(COMMON.queueSize, 2, QUEUE_SIZE);
    this.#bar.write(COMMON.queueVector, 2, vector);
    this.#writeAddress(COMMON.queueDesc, 0);
    this.#writeAddress(COMMON.queueDriver, AVAILABLE_RING);
    this.#writeAddress(COMMON.queueDevice, USED_RING);
    this.#bar.write(COMMON.queueEnable, 2, 1);
    this.#bar.write(COMMON.deviceStatus, 1, 15);
    return this.status();
  }

  status(): number {
    return this.#bar.read(COMMON.deviceStatus, 1);
  }

  /** Hands one broadcast frame to the device. */
  send(): void {
    const descriptor = new Uint32Array(this.#region.buffer, 0, 4);
    const { lo, hi } = this.#region.addressOf(FRAME);
    descriptor.set([lo, hi, HEADER_BYTES + FRAME_BYTES, 0]);
    new Uint8Array(this.#region.buffer, FRAME + HEADER_BYTES, 6).fill(0xff);
    this.#words[AVAILABLE_RING / 2 + 2 + (this.#sent % QUEUE_SIZE)] = 0;
    this.#sent += 1;
    Atomics.store(this.#words, AVAILABLE_RING / 2 + 1, this.#sent & 0xffff);
    this.#bar.write(NOTIFY + TX_QUEUE * NOTIFY_MULTIPLIER, 2, TX_QUEUE);
  }

  /** How many frames the device says it has sent. */
  used(): number {
    return Atomics.load(this.#words, USED_RING / 2 + 1);
  }

  /** Resets the device, and begins its rings anew. */
  reset(): void {
    this.#bar.write(COMMON.deviceStatus, 1, 0);
    while (this.status() !== 0);
    this.#words.fill(0);
    this.#sent = 0;
  }

  #writeAddress(register: number, offset: number): void {
    const { lo, hi } = this.#region.addressOf(offset);
    this.#bar.write(register, 4, lo);
    this.#bar.write(register + 4, 4, hi);
  }
}
