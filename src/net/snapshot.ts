import type { Notifier } from './notification.js';
import type { QueuePair } from './queue-pair.js';
import type { InterruptCounters, NetStatistics, NotificationStatistics } from './statistics.js';

/** Reads all counters. */
export function snapshot(
  { receive, transmit, pool }: QueuePair,
  interrupts: InterruptCounters,
): NetStatistics {
  const { short, iteratorFull } = receive.drops;
  return {
    receive: {
      frames: receive.counters.frames,
      bytes: receive.counters.bytes,
      drops: { short, iteratorFull },
      refillShortfalls: receive.refillShortfalls,
      notifications: notifications(receive.notifier),
    },
    transmit: {
      frames: transmit.counters.frames,
      bytes: transmit.counters.bytes,
      completed: transmit.completed,
      ringFull: transmit.ringFull,
      notifications: notifications(transmit.notifier),
    },
    interrupts: {
      receive: interrupts.receive,
      transmit: interrupts.transmit,
      config: interrupts.config,
      spurious: interrupts.spurious,
    },
    pool: { size: pool.size, available: pool.available },
  };
}

function notifications({ sent, suppressed }: Notifier): NotificationStatistics {
  return { sent, suppressed };
}
