/** A virtqueue from the device's side, whatever the ring format. */
import type { Chain } from './chain.js';
import type { SimulatedRegion } from './memory.js';
import type { Notification } from './notification-data.js';

/** How a queue is to work. */
export interface QueueOptions {
  /** Whether VIRTIO_F_RING_EVENT_IDX was negotiated. */
  readonly eventIdx: boolean;
  /** Whether VIRTIO_F_RING_INDIRECT_DESC was negotiated. */
  readonly indirect: boolean;
  /** Whether VIRTIO_F_IN_ORDER was negotiated. */
  readonly inOrder: boolean;
  /** Whether VIRTIO_F_NOTIFICATION_DATA was negotiated. */
  readonly notificationData: boolean;
  /** Whether to check that the driver leaves alone what the device owns. */
  readonly isolation: boolean;
  /** Whether the queue is one of a legacy device, which fixes where its parts lie. */
  readonly legacy: boolean;
  /** Whether several buffers that were used wholly are returned by one entry, which VIRTIO_F_IN_ORDER allows. */
  readonly batches: boolean;
}

/** What became of the interrupt for the buffers that were returned. */
export type InterruptWish =
  /** There was nothing to tell. */
  | 'nothing'
  /** The driver wants to be interrupted. */
  | 'wanted'
  /** The driver asked not to be. */
  | 'suppressed';

/** Its methods throw a DriverViolation where the driver broke a rule. */
export interface DeviceQueue {
  /** Takes the next buffer that the driver made available. */
  take(): Chain | undefined;
  /**
   * Writes the bytes into the buffer's device-writable part and puts it among the used ones. With VIRTIO_F_IN_ORDER
   * buffers must be completed in the order in which they were taken.
   */
  complete(chain: Chain, bytes: Uint8Array): void;
  /** Shows the driver all that was completed since the last time. */
  publish(): InterruptWish;
  /** Asks the driver to notify of the next buffer; says whether there is one already. */
  armNotifications(): boolean;
  /** Asks the driver not to notify. */
  disarmNotifications(): void;
  /** The driver has notified: says whether it had been asked to. */
  acceptNotification(notification: Notification): boolean;
  /** Whether any part of the queue, or of a buffer that the device owns, lies in that region. */
  uses(region: SimulatedRegion): boolean;
  /** Checks, at a reset, that the driver left alone what the device owns. */
  verifyOwned(): void;
}
