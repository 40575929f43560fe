/** Reading the kernel's info structures, which say themselves how long they are. */
import { VfioError } from '../errors.js';
import { vfioCall } from './failures.js';

/** Far beyond what any capability chain needs. */
const LONGEST_INFO = 1 << 20;

/**
 * Asks with a buffer of the least size, and again with as much as the kernel says it needs.
 *
 * @param ask - calls the shim, which returns the needed size or a negated errno
 * @returns the structure, with its capability chain
 */
export function fetchInfo(call: string, least: number, ask: (buffer: Uint8Array) => number): Uint8Array {
  let buffer = new Uint8Array(least);
  for (;;) {
    const needed = vfioCall(call, ask(buffer));
    if (needed <= buffer.length) return buffer;
    if (needed > LONGEST_INFO) {
      throw new VfioError('VFIO_CALL_FAILED', `${call} wants a buffer of ${needed} bytes`, { syscall: call });
    }
    buffer = new Uint8Array(needed);
  }
}
