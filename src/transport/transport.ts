/**
 * How a driver reaches a virtio device, whatever the device hangs on.
 *
 * The driver (src/net, src/virtqueue) knows a device by this interface alone, so a card behind VFIO, the
 * software device and a vhost-user socket are interchangeable.
 */
import type { DeviceAddress, DmaMemory } from '../memory/dma.js';

/** Device status bits (VIRTIO 1.3, 2.1). */
export const STATUS = {
  ACKNOWLEDGE: 1,
  DRIVER: 2,
  DRIVER_OK: 4,
  FEATURES_OK: 8,
  DEVICE_NEEDS_RESET: 64,
  FAILED: 128,
} as const;

/** Where the three parts of a virtqueue lie, and how many entries it has. */
export interface QueueLayout {
  /** Number of descriptors: a power of two on a split ring, at most what {@link Transport.maxQueueSize} says. */
  readonly size: number;
  /** Descriptor area: the descriptor table of a split ring. */
  readonly descriptorArea: DeviceAddress;
  /** Driver area: the available ring of a split ring. */
  readonly driverArea: DeviceAddress;
  /** Device area: the used ring of a split ring. */
  readonly deviceArea: DeviceAddress;
}

/** Called by a transport when the device interrupts. They run on the event loop, never inside another call. */
export interface InterruptHandlers {
  /** The queue may have used buffers. With fewer vectors than queues one interrupt calls this for several. */
  queue(queue: number): void;
  /** The configuration of the device may have changed. */
  config(): void;
}

/** The access width of a register, in bytes. */
export type AccessWidth = 1 | 2 | 4;

/** A device, from the driver's side. All calls are synchronous but for `close()`. */
export interface Transport {
  /** What kind of transport this is, for logs: `pci-modern`, `simulated`, ... */
  readonly kind: string;
  /** Which device this is, for logs and messages: a PCI address, a socket path. */
  readonly name: string;
  /** Memory that the device can reach. */
  readonly memory: DmaMemory;

  /** The device status byte (VIRTIO 1.3, 2.1). */
  readStatus(): number;
  /** Writes the device status; 0 asks for a reset, which is done when `readStatus()` gives 0. */
  writeStatus(status: number): void;

  /** The feature bits that the device offers, bit n of the BigInt being feature bit n. */
  readDeviceFeatures(): bigint;
  writeDriverFeatures(features: bigint): void;

  /** Number of virtqueues that the device has. */
  readonly queueCount: number;
  /** The largest size that the device allows for that queue; 0 if the queue does not exist. */
  maxQueueSize(queue: number): number;
  /**
   * Tells the device where the queue lies and enables it. With interrupts enabled, maps the queue to its vector.
   *
   * @throws DeviceError DEVICE_VECTOR_REFUSED, DEVICE_QUEUE_UNAVAILABLE
   */
  enableQueue(queue: number, layout: QueueLayout): void;
  /** Tells the device that there are new buffers in the queue (available buffer notification). */
  notify(queue: number): void;

  /** Length of the device-specific configuration, in bytes. */
  readonly configLength: number;
  /** Reads from the device-specific configuration, aligned to the width, little-endian. */
  readConfig(offset: number, width: AccessWidth): number;
  /** Changes when the configuration changes (VIRTIO 1.3, 2.5). */
  readConfigGeneration(): number;

  /**
   * Starts delivering interrupts; to be called before `enableQueue()`.
   *
   * @param queues - how many queues will be enabled, from 0 on
   * @throws VfioError, DeviceError DEVICE_VECTOR_REFUSED
   */
  enableInterrupts(queues: number, handlers: InterruptHandlers): void;
  /** Stops delivering interrupts. No handler runs after it. Calling it again does nothing. */
  disableInterrupts(): void;
  /** Whether waiting for interrupts keeps the event loop alive; true at first. */
  setKeepAlive(keepAlive: boolean): void;

  /** Gives everything back, in the reverse order. The device must be reset. Calling it again does nothing. */
  close(): Promise<void>;
}
