import type { PacketBuffer } from '../memory/packet-buffer.js';
import type { PacketPool } from '../memory/packet-pool.js';

/**
 * Takes a buffer from the pool and copies a frame into it; as many as it takes, linked, where it does not fit one.
 *
 * @returns undefined if there are not that many; none is taken then
 */
export function takeFilled(pool: PacketPool, frame: Uint8Array): PacketBuffer | undefined {
  const head = pool.take();
  if (head === undefined) return undefined;
  try {
    if (frame.length <= head.capacity) return head.setFrame(frame);
    if (fillAll(pool, head, frame)) return head;
    pool.undoTake(head);
    return undefined;
  } catch (error) {
    // The frame was another one meanwhile: its memory may be shared, and grow.
    pool.put(head);
    throw error;
  }
}

/** Spreads a frame over that buffer and further ones; says whether there were enough, or takes none. */
function fillAll(pool: PacketPool, head: PacketBuffer, frame: Uint8Array): boolean {
  const { capacity } = head;
  const { length } = frame;
  if (pool.available < Math.ceil(length / capacity) - 1) return false;
  head.setFrame(frame.subarray(0, capacity));
  let tail = head;
  for (let at = capacity; at < length; at += capacity) {
    const segment = pool.take();
    // There are enough: they were counted above.
    if (segment === undefined) break;
    tail.link(segment);
    tail = segment.setFrame(frame.subarray(at, at + capacity));
  }
  return true;
}
