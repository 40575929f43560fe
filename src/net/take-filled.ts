import type { PacketBuffer } from '../memory/packet-buffer.js';
import type { PacketPool } from '../memory/packet-pool.js';

/**
 * Takes a buffer from the pool and copies a frame into it; as many as it takes, linked, where it does not fit one.
 *
 * @returns undefined if there are not that many; none is taken then
 */
export function takeFilled(pool: PacketPool, frame: Uint8Array): PacketBuffer | undefined {
  const head = pool.take();
  if (head === undefined || frame.length <= head.capacity) return head?.setFrame(frame);
  const { capacity } = head;
  const further = Math.ceil(frame.length / capacity) - 1;
  if (pool.available < further) {
    pool.undoTake(head);
    return undefined;
  }
  head.setFrame(frame.subarray(0, capacity));
  let tail = head;
  for (let at = capacity; at < frame.length; at += capacity) {
    const segment = pool.take();
    // There are enough: they were counted above.
    if (segment === undefined) break;
    tail.link(segment.setFrame(frame.subarray(at, at + capacity)));
    tail = segment;
  }
  return head;
}
