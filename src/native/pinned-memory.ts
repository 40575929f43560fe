/** Keeping memory at its place in the machine, for devices that no IOMMU translates for. */
import { checked } from './errno.js';
import { adoptFd } from './file-descriptor.js';
import { setCloseAtExit } from './node-functions.js';
import { shim } from './shim.js';

/** Memory that the kernel does not move, until it is unpinned. */
export class PinnedMemory {
  readonly #fd: number;
  #pinned = true;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /**
   * Pins memory by registering it with an io_uring, since locked memory (mlock) may still move.
   *
   * @param address - virtual, on a page boundary
   * @throws NativeError NATIVE_CALL_FAILED: ENOSYS or EPERM where io_uring is not to be had, ENOMEM beyond the limit on
   *   locked memory
   */
  static pin(address: number, size: number): PinnedMemory {
    return new PinnedMemory(adoptFd(checked('io_uring_register', shim().memory_pin(address, size))));
  }

  /** To be called before the memory is given back. Calling it again does nothing. */
  unpin(): void {
    if (!this.#pinned) return;
    this.#pinned = false;
    setCloseAtExit(this.#fd, false);
    checked('io_uring_register', shim().memory_unpin(this.#fd));
  }
}
