/** Which event goes to which MSI-X vector (VIRTIO 1.3, 4.1.5.1.2). */

/** How the events of a device share the vectors that it has. */
export interface VectorPlan {
  /** Number of vectors to enable, from vector 0 on. */
  readonly vectors: number;
  /** The vector of configuration changes. */
  readonly config: number;
  /** The vector of a queue. */
  queue(queue: number): number;
}

const CONFIG_VECTOR = 0;

/**
 * Spreads events over vectors: one is for the configuration, and each queue has one of its own where there are
 * enough; else neighbouring queues share one. A single vector is for everything.
 *
 * @param available - vectors that there are, at least 1
 * @param queues - queues that get interrupts, from 0 on
 */
export function planVectors(available: number, queues: number): VectorPlan {
  const vectors = Math.min(available, queues + 1);
  if (vectors === 1) return { vectors, config: CONFIG_VECTOR, queue: () => CONFIG_VECTOR };
  const forQueues = vectors - 1;
  return { vectors, config: CONFIG_VECTOR, queue: (queue) => 1 + Math.floor((queue * forQueues) / queues) };
}

/**
 * The numbers of vectors to try, one after the other: what the device has may be more than what it or the kernel can
 * really give.
 *
 * @param available - vectors that there are
 * @param queues - queues that get interrupts
 */
export function vectorCounts(available: number, queues: number): number[] {
  const counts: number[] = [];
  for (let count = Math.min(available, queues + 1); count > 1; count = Math.ceil(count / 2))
    counts.push(count);
  if (available > 0) counts.push(1);
  return counts;
}
