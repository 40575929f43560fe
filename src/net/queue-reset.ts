import { DeviceError } from '../errors.js';
import type { Transport } from '../transport/transport.js';
import type { PairDatapath } from './pair-datapath.js';
import type { Direction, LostFrames } from './recovery-report.js';

/**
 * Resets one queue while the others go on (VIRTIO 1.3, 2.6.1), and takes its buffers back. Sends that wait stay queued.
 * The queue must be paused, and stays so.
 *
 * @param timeout - in milliseconds
 * @returns what was lost
 * @throws DeviceError DEVICE_QUEUE_RESET_TIMEOUT, and what else the transport throws
 */
export async function resetQueue(
  transport: Transport,
  { queues, sender }: PairDatapath,
  direction: Direction,
  timeout: number,
): Promise<LostFrames> {
  await transport.resetQueue(queues[direction].ring.index, timeout);
  const lost = queues.resetQueue(direction);
  if (lost.transmit > 0) sender.failFlushes(framesLost(transport));
  return lost;
}

/** Enables a queue that was reset, and has the driver go on with it. */
export function enableQueueAgain(transport: Transport, pair: PairDatapath, direction: Direction): void {
  const { queues } = pair;
  queues.enableQueue(transport, direction);
  if (direction === 'receive') queues.receive.notifier.notifyIfNeeded();
  pair.resume(direction);
}

/** What `flush()` is rejected with when what it waits for was lost. */
export function framesLost(transport: Transport, cause?: Error): DeviceError {
  return new DeviceError(
    'DEVICE_WAS_RESET',
    `${transport.name} was reset before it had finished the frames that it was given`,
    { cause },
  );
}
