/** The counters of a queue pair, in memory that two threads see. */
import type { PairDatapath } from '../pair-datapath.js';
import type { QueuePairStatistics } from '../statistics.js';

/** Writes all counters of a pair. Allocates nothing: it is done after each burst. */
export function writeCounters({ queues, interrupts }: PairDatapath, to: Float64Array): void {
  const { receive, transmit, pool } = queues;
  to[0] = receive.counters.frames;
  to[1] = receive.counters.bytes;
  to[2] = receive.drops.short;
  to[3] = receive.drops.offload;
  to[4] = receive.drops.iteratorFull;
  to[5] = receive.refillShortfalls;
  to[6] = receive.notifier.sent;
  to[7] = receive.notifier.suppressed;
  to[8] = transmit.counters.frames;
  to[9] = transmit.counters.bytes;
  to[10] = transmit.completed;
  to[11] = transmit.ringFull;
  to[12] = transmit.notifier.sent;
  to[13] = transmit.notifier.suppressed;
  to[14] = interrupts.receive;
  to[15] = interrupts.transmit;
  to[16] = interrupts.spurious;
  to[17] = pool.size;
  to[18] = pool.available;
}

/** Reads what {@link writeCounters} has written. */
export function readCounters(from: Float64Array): QueuePairStatistics {
  return {
    receive: {
      frames: from[0],
      bytes: from[1],
      drops: { short: from[2], offload: from[3], iteratorFull: from[4] },
      refillShortfalls: from[5],
      notifications: { sent: from[6], suppressed: from[7] },
    },
    transmit: {
      frames: from[8],
      bytes: from[9],
      completed: from[10],
      ringFull: from[11],
      notifications: { sent: from[12], suppressed: from[13] },
    },
    interrupts: { receive: from[14], transmit: from[15], spurious: from[16] },
    pool: { size: from[17], available: from[18] },
  };
}
