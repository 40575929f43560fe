import { MessagePort, threadId } from 'node:worker_threads';
import { UsageError } from '../../errors.js';
import type { NativeAccess } from '../../transport/native-access.js';
import { AttachedQueuePair } from './attached-queue-pair.js';
import { ControlBlock, REQUEST, requestOf } from './control-block.js';
import type { SharedQueuePair } from './shared-queue-pair.js';

/**
 * Takes a queue pair over that another thread of this process has shared, with `shareQueuePair()` of its device. The
 * pair runs whenever the device does, from the start that follows on, or at once if the device runs already.
 *
 * @param shared - as it came in `workerData` or a message
 * @throws UsageError OPTION_INVALID if it is no such handle, or of this very thread; QUEUE_PAIR_SHARED if it was
 *   attached before; DEVICE_CLOSED if the device has taken it back; NativeError
 */
export async function attachQueuePair(shared: SharedQueuePair): Promise<AttachedQueuePair> {
  checkHandle(shared);
  const native = isNative(shared) ? await loadNative() : undefined;
  const block = new ControlBlock(shared.control);
  const what = `Queue pair ${shared.number} of ${shared.setup.device}`;
  const checkLent = (): void => {
    if (requestOf(block.request) === REQUEST.END)
      throw new UsageError('DEVICE_CLOSED', `${what} was taken back`);
  };
  checkLent();
  if (!block.attach()) throw new UsageError('QUEUE_PAIR_SHARED', `${what} was attached already`);
  try {
    // Whoever took it back before this knew of nobody to wait for, and has closed the eventfds: their numbers may be
    // those of other files.
    checkLent();
    return new AttachedQueuePair(shared, block, native);
  } catch (error) {
    shared.port.close();
    native?.close();
    throw error;
  }
}

/** Loaded only where it is needed, so that the software device works without anything native. */
async function loadNative(): Promise<NativeAccess> {
  const access = await import('../../transport/native-access.js');
  return new access.NativeAccess();
}

function isNative({ setup }: SharedQueuePair): boolean {
  return setup.regions.some(({ memory }) => !(memory instanceof SharedArrayBuffer));
}

/** From JavaScript anything may come. */
function checkHandle(shared: unknown): asserts shared is SharedQueuePair {
  const handle = shared as Partial<SharedQueuePair> | null | undefined;
  if (!(handle?.port instanceof MessagePort) || handle.setup === undefined || handle.control === undefined) {
    throw new UsageError('OPTION_INVALID', 'This is no shared queue pair', {
      remedy: 'Give what shareQueuePair() returned, handed to the worker together with its transferList.',
    });
  }
  if (handle.setup.threadId !== threadId) return;
  throw new UsageError('OPTION_INVALID', 'A queue pair can not be attached in the thread that shares it', {
    remedy: 'Use device.queuePair() there, or hand the pair to a worker.',
  });
}
