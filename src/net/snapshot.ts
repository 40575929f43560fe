import type { Datapath } from './datapath.js';
import type { Notifier } from './notification.js';
import type { PairDatapath } from './pair-datapath.js';
import type { Leases } from './sharing/leases.js';
import type { NetStatistics, NotificationStatistics, QueuePairStatistics } from './statistics.js';

/** Reads all counters of a device. */
export function snapshot(
  { pairs, configInterrupts: config, foreignInterrupts: foreign }: Datapath,
  leases: Leases,
): NetStatistics {
  const queuePairs = pairs.map((pair) => pairTotals(pair, leases));
  const { interrupts, ...totals } = queuePairs.reduce(sum);
  return { ...totals, interrupts: { ...interrupts, config, foreign }, queuePairs };
}

/** All counters of a queue pair, those of other threads to which it was lent included. */
export function pairTotals(pair: PairDatapath, leases: Leases): QueuePairStatistics {
  const own = pairSnapshot(pair);
  const { now, past } = leases.statistics(pair.queues.number);
  const totals = [own, ...past, ...(now === undefined ? [] : [now])].reduce(sum);
  return { ...totals, pool: (now ?? own).pool };
}

/** Reads all counters of a queue pair. */
export function pairSnapshot(pair: PairDatapath): QueuePairStatistics {
  pair.settle();
  const { queues, interrupts } = pair;
  const { receive, transmit, pool } = queues;
  const { short, offload, iteratorFull } = receive.drops;
  return {
    receive: {
      frames: receive.counters.frames,
      bytes: receive.counters.bytes,
      drops: { short, offload, iteratorFull },
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
      spurious: interrupts.spurious,
    },
    pool: { size: pool.size, available: pool.available },
  };
}

function notifications({ sent, suppressed }: Notifier): NotificationStatistics {
  return { sent, suppressed };
}

/** Adds up two sets of counters of the same shape, number by number. */
function sum<T extends object>(one: T, other: T): T {
  const entries = Object.entries(one).map(([name, value]: [string, unknown]) => {
    const added = (other as Record<string, unknown>)[name];
    return [
      name,
      typeof value === 'number' ? value + (added as number) : sum(value as object, added as object),
    ];
  });
  return Object.fromEntries(entries) as T;
}
