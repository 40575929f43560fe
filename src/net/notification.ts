import type { Transport } from '../transport/transport.js';
import type { Virtqueue } from '../virtqueue/virtqueue.js';
import type { QueueCounters } from './statistics.js';

/** Tells the device of what was published, if it wants to be told. Throws what the transport throws. */
export function notifyIfNeeded(ring: Virtqueue, transport: Transport, counters: QueueCounters): void {
  if (!ring.needsNotification()) {
    counters.notificationsSuppressed += 1;
    return;
  }
  counters.notificationsSent += 1;
  transport.notify(ring.index);
}
