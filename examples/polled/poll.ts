import { setImmediate as nextTurn } from 'node:timers/promises';
import type { NetDevice } from 'virtio-net';
import type { Limits } from './program.js';
import { Rates } from './rates.js';

/** Bursts without a turn of the event loop, which Ctrl-C and the rates need now and then. */
const BURSTS_PER_TURN = 1000;

/**
 * Polls without a pause, and prints once a second what the devices receive and send.
 *
 * @param step - takes or sends up to `most` frames, and says how many those were
 */
export async function poll(
  devices: Iterable<NetDevice>,
  { burst, count }: Limits,
  signal: AbortSignal,
  step: (most: number) => number,
): Promise<void> {
  const rates = new Rates(devices);
  let left = count;
  while (left > 0 && !signal.aborted) {
    for (let bursts = 0; bursts < BURSTS_PER_TURN; bursts += 1) left -= step(Math.min(burst, left));
    await nextTurn();
  }
  rates.end();
}
