/** File descriptors that a system call of the shim made, and that Node does not know of. */
import { checked } from './errno.js';
import { setCloseAtExit } from './node-functions.js';
import { shim } from './shim.js';

/**
 * Takes a file descriptor over: until {@link closeFd}, the end of this thread closes it, also that of a worker
 * which is terminated while the program goes on.
 *
 * @throws NativeError NATIVE_CALL_FAILED, with the file descriptor closed
 */
export function adoptFd(fd: number): number {
  try {
    setCloseAtExit(fd, true);
    return fd;
  } catch (error) {
    shim().close(fd);
    throw error;
  }
}

/**
 * Closes a file descriptor that was adopted.
 *
 * @throws NativeError NATIVE_CALL_FAILED
 */
export function closeFd(fd: number): void {
  setCloseAtExit(fd, false);
  checked('close', shim().close(fd));
}
