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
const SHARED_QUEUE_VECTOR = 1;

/**
 * Spreads events over vectors: one for the configuration and one for each queue where there are enough, else
 * one for the configuration and one for all queues, else a single one for everything.
 *
 * @param available - vectors that the function has, at least 1
 * @param queues - queues that will be enabled, from 0 on
 */
export function planVectors(available: number, queues: number): VectorPlan {
  if (available > queues) {
    return { vectors: queues + 1, config: CONFIG_VECTOR, queue: (queue) => queue + 1 };
  }
  if (available > 1) return { vectors: 2, config: CONFIG_VECTOR, queue: () => SHARED_QUEUE_VECTOR };
  return { vectors: 1, config: CONFIG_VECTOR, queue: () => CONFIG_VECTOR };
}
