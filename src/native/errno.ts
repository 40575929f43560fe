/** Where the shim's results become values or errors. */
import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';
import { NativeError } from '../errors.js';

/** The positive errno values that the layers above tell apart. */
export const ERRNO = constants.errno;

/** For example `ENOMEM (not enough memory)` for 12; `errno 3000` where the system has no name for it. */
export function describeErrno(errno: number): string {
  const name = Object.entries(ERRNO).find(([, value]) => value === errno)?.[0];
  // Libuv has numbers of its own beside those of the system.
  const text = name === undefined ? undefined : getSystemErrorMap().get(-errno)?.[1];
  return text === undefined ? (name ?? `errno ${errno}`) : `${name} (${text})`;
}

/** The error for a call that failed; the layers above put a more precise one in its place where they can. */
export function callFailed(call: string, errno: number): NativeError {
  return new NativeError('NATIVE_CALL_FAILED', `${call} failed: ${describeErrno(errno)}`, {
    syscall: call,
    errno,
  });
}

/**
 * The value of a shim call.
 *
 * @param call - what the user should read: the system call or ioctl, and what it was for
 * @param result - what the shim returned: a negated errno, or a value
 * @throws NativeError NATIVE_CALL_FAILED with `errno`
 */
export function checked(call: string, result: number): number {
  if (result < 0) throw callFailed(call, -result);
  return result;
}

/** The positive errno of a failure: of ours, or of a `node:fs` call; undefined where there is none. */
export function errnoOf(error: unknown): number | undefined {
  if (error instanceof NativeError) return error.errno;
  if (error instanceof Error && 'errno' in error && typeof error.errno === 'number')
    return Math.abs(error.errno);
  return undefined;
}
