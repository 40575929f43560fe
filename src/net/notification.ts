import type { QueueAccess } from '../transport/transport.js';
import type { Virtqueue } from '../virtqueue/virtqueue.js';

/** Tells the device of new buffers in one queue, where it wants to be told. */
export class Notifier {
  sent = 0;
  suppressed = 0;
  /**
   * What the transport threw. It is kept rather than thrown on: the buffers are in the ring all the same, and whoever
   * is about to get frames that were taken before must get them.
   */
  failure: Error | undefined;
  private readonly ring: Virtqueue;
  private readonly transport: QueueAccess;

  constructor(ring: Virtqueue, transport: QueueAccess) {
    this.ring = ring;
    this.transport = transport;
  }

  notifyIfNeeded(): void {
    if (!this.ring.needsNotification()) {
      this.suppressed += 1;
      return;
    }
    this.sent += 1;
    try {
      this.notify();
    } catch (error) {
      this.failure = error as Error;
    }
  }

  private notify(): void {
    const { ring, transport } = this;
    if (ring.notifiesWithData) transport.notify(ring.index, ring.notificationData);
    else transport.notify(ring.index);
  }
}
