/**
 * How a driver reaches a virtio device, whatever the device hangs on.
 *
 * The driver (src/net, src/virtqueue) knows a device by this interface alone, so a card behind VFIO, the
 * software device and a vhost-user socket are interchangeable.
 */
import type { DeviceAddress, DmaMemory } from '../memory/dma.js';
import type { TransportSharing } from './sharing.js';

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
  /** The eventfd by which the queue is notified, in place of one of the transport's own, where it has such. */
  readonly kickFd?: number | undefined;
}

/** What a queue pair needs of a transport, in whatever thread it works. */
export type QueueAccess = Pick<
  Transport,
  'name' | 'memory' | 'legacy' | 'queueCount' | 'maxQueueSize' | 'notify'
>;

/** Called by a transport when the device interrupts. They run on the event loop, never inside another call. */
export interface InterruptHandlers {
  /** The queue may have used buffers. With fewer vectors than queues one interrupt calls this for several. */
  queue(queue: number): void;
  /** The configuration of the device may have changed. */
  config(): void;
  /** An interrupt came that the device did not send: on a line that it shares with another device. */
  spurious?(): void;
  /**
   * The file descriptor of an eventfd that is to be signalled for the queue, where it has a vector of its own. Where it
   * has none, or this gives undefined, `queue()` is called.
   */
  eventFd?(queue: number): number | undefined;
}

/** Called by a transport whose other end may go and come back. They run on the event loop, never inside another call. */
export interface AbsenceHandlers {
  /** It has gone, and uses no buffer any more. */
  away(reason: Error): void;
  /** It is back, as new: the device has to be negotiated with again, and given its queues. */
  back(): void;
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
  /**
   * Whether the device is driven through the legacy interface, that of virtio 0.9.5 (VIRTIO 1.3, 1.3.1): there are 32
   * feature bits and no FEATURES_OK; the size of a queue is fixed; its ring is one contiguous stretch whose address is
   * a page frame number, the used ring beginning on the next multiple of 4096.
   */
  readonly legacy: boolean;

  /**
   * The device status byte (VIRTIO 1.3, 2.1).
   *
   * @throws DeviceError DEVICE_REMOVED if the device has gone, as every call that reaches it does
   */
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
   * Tells the device where the queue lies and enables it. With interrupts enabled, maps the queue to its vector, if
   * it is among those that interrupts were enabled for.
   *
   * @throws DeviceError DEVICE_VECTOR_REFUSED, DEVICE_QUEUE_UNAVAILABLE
   */
  enableQueue(queue: number, layout: QueueLayout): void;
  /**
   * Resets one queue of a device that has VIRTIO_F_RING_RESET (VIRTIO 1.3, 2.6.1). From the call on it can not be
   * notified; when the promise is fulfilled the device uses none of its buffers any more, and `enableQueue()` may be
   * called for it again.
   *
   * @param timeout - in milliseconds
   * @throws UsageError FEATURE_NOT_NEGOTIATED; DeviceError DEVICE_QUEUE_UNAVAILABLE if it is not enabled,
   *   DEVICE_QUEUE_RESET_TIMEOUT, after which the device may still use the buffers
   */
  resetQueue(queue: number, timeout: number): Promise<void>;
  /**
   * Tells the device that there are new buffers in the queue (available buffer notification).
   *
   * @param data - the position in the ring that VIRTIO_F_NOTIFICATION_DATA asks for, 16 bits: what stands above the
   *   number of the queue (2.9). To be left out where that was not negotiated.
   */
  notify(queue: number, data?: number): void;

  /**
   * Carries out a command that a device gets by its control queue, where there is no such queue although
   * VIRTIO_NET_F_CTRL_VQ is offered: the transport speaks for the device then.
   *
   * @param data - the command-specific data (VIRTIO 1.3, 5.1.6.5)
   * @returns whether it was carried out
   */
  command?(classNumber: number, command: number, data: Uint8Array): boolean;

  /** Length of the device-specific configuration, in bytes. */
  readonly configLength: number;
  /** Reads from the device-specific configuration, aligned to the width, little-endian. */
  readConfig(offset: number, width: AccessWidth): number;
  /**
   * Writes to the device-specific configuration, aligned to the width, little-endian. Which fields a driver may write
   * is the device type's matter: of a network card, the MAC address through the legacy interface.
   */
  writeConfig(offset: number, width: AccessWidth, value: number): void;
  /** Changes when the configuration changes (VIRTIO 1.3, 2.5). */
  readConfigGeneration(): number;

  /**
   * Starts delivering interrupts; to be called before `enableQueue()`.
   *
   * @param queues - how many queues get interrupts, from 0 on; a queue beyond them, as the control queue, may be
   *   enabled all the same, and is without
   * @throws VfioError, DeviceError DEVICE_VECTOR_REFUSED
   */
  enableInterrupts(queues: number, handlers: InterruptHandlers): void;
  /** Stops delivering interrupts. No handler runs after it. Calling it again does nothing. */
  disableInterrupts(): void;
  /** Whether waiting for interrupts keeps the event loop alive; true at first. */
  setKeepAlive(keepAlive: boolean): void;
  /**
   * Says what to do when the device is taken away: the machine asks for it back, or it has gone. Called at most once,
   * on the event loop; `undefined` unsets it.
   */
  onRemoval(handler: (() => void) | undefined): void;

  /**
   * Whether the other end has gone, and is waited for: until it is back, calls that reach it throw an error of the
   * transport's own, but for a reset, which is done at once.
   */
  readonly isAway?: boolean;
  /** Says what to do when the other end goes and comes back; `undefined` unsets it. Absent where it does not. */
  onAbsence?(handlers: AbsenceHandlers | undefined): void;

  /** How other threads can work at queues of the device; absent where they can not. */
  readonly sharing?: TransportSharing | undefined;

  /** Gives everything back, in the reverse order. The device must be reset. Calling it again does nothing. */
  close(): Promise<void>;
}
