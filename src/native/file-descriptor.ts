/** Closing file descriptors that a system call of the shim made, and that Node does not know of. */
import { checked } from './errno.js';
import { shim } from './shim.js';

/** @throws NativeError NATIVE_CALL_FAILED */
export function closeFd(fd: number): void {
  checked('close', shim().close(fd));
}
