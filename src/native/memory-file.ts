/** Memory with a file descriptor, to share with another process. */
import { checked } from './errno.js';
import { adoptFd, closeFd } from './file-descriptor.js';
import { koffi } from './koffi.js';
import { pageSize } from './mapped-memory.js';
import { detachArrayBuffer } from './node-functions.js';
import { shim } from './shim.js';

const HUGE_FLAG = { '2M': 2, '1G': 4 } as const;
const HUGE_SIZE = { '2M': 2 ** 21, '1G': 2 ** 30 } as const;

/**
 * A file in memory of a fixed size (memfd), and its mapping. Its parts are given out as ArrayBuffers; memory is taken
 * for a part when it is given out. Nobody who is handed the file can make it shorter.
 */
export class MemoryFile {
  readonly fd: number;
  /** Virtual address of the first byte. */
  readonly address: number;
  /** In bytes. */
  readonly size: number;
  /** What can be given out is a multiple of this, in bytes: a page of the system's usual size. */
  readonly unit: number;
  /** Some view of a part can not be detached. */
  #retiring = false;
  #open = true;

  private constructor(fd: number, address: number, size: number) {
    this.fd = fd;
    this.address = address;
    this.size = size;
    this.unit = pageSize();
  }

  /**
   * @param size - in bytes; rounded up to whole pages
   * @throws NativeError NATIVE_CALL_FAILED: ENOMEM where there are not so many huge pages
   */
  static create(size: number, hugePages?: '2M' | '1G'): MemoryFile {
    const page = hugePages === undefined ? pageSize() : HUGE_SIZE[hugePages];
    const rounded = Math.ceil(size / page) * page;
    const flags = hugePages === undefined ? 0 : HUGE_FLAG[hugePages];
    const fd = adoptFd(checked('memfd_create', shim().memory_file_create(rounded, flags)));
    try {
      const call = `mmap of ${rounded} bytes${hugePages === undefined ? '' : ` in huge pages of ${hugePages}`}`;
      return new MemoryFile(fd, checked(call, shim().memory_file_map(fd, rounded)), rounded);
    } catch (error) {
      closeFd(fd);
      throw error;
    }
  }

  /**
   * A view of a part, with memory behind it; what it was used for before shows.
   *
   * @param offset - in bytes, of whole pages, as is `size`
   * @throws NativeError NATIVE_CALL_FAILED: ENOMEM, ENOSPC
   */
  view(offset: number, size: number): ArrayBuffer {
    this.#check(offset, size);
    checked('fallocate', shim().memory_file_populate(this.fd, this.address, offset, size));
    return koffi().view(BigInt(this.address + offset), size);
  }

  /**
   * Takes a view back: its length, and that of all that was made of it, is 0 afterwards.
   *
   * @param shared - whether other threads have views of their own
   * @returns false where somebody else has a view of the part, which must not be given out again then
   */
  takeBack(view: ArrayBuffer, size: number, shared: boolean): boolean {
    // A length of 0 already means that another ArrayBuffer lies over the memory, which nobody here can reach.
    const ours = view.byteLength === size;
    const detached = ours && detachArrayBuffer(view);
    if (detached && !shared) return true;
    this.#retiring = true;
    return false;
  }

  /**
   * Gives all memory back. Views that could not be taken back read zeros afterwards. Calling it again does nothing.
   *
   * @throws NativeError NATIVE_CALL_FAILED
   */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    try {
      if (this.#retiring) checked('mmap over retired memory', shim().memory_retire(this.address, this.size));
      else checked('munmap', shim().memory_unmap(this.address, this.size));
    } finally {
      closeFd(this.fd);
    }
  }

  #check(offset: number, size: number): void {
    const whole = offset % this.unit === 0 && size % this.unit === 0;
    if (this.#open && whole && offset >= 0 && size > 0 && offset + size <= this.size) return;
    throw new RangeError(`No ${size} bytes at ${offset} in a memory file of ${this.size} bytes`);
  }
}
