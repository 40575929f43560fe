/** Device registers in mapped memory, each access of exactly its width. */
import { checked } from './errno.js';
import { shim, type Shim } from './shim.js';

/** A mapping of device registers. The caller checks bounds and alignment; after `close()` nothing may be accessed. */
export class MmioMapping {
  /** Length in bytes. */
  readonly size: number;
  readonly #address: number;
  readonly #shim: Shim;
  #open = true;
  #shared = false;

  private constructor(address: number, size: number) {
    this.#address = address;
    this.size = size;
    this.#shim = shim();
  }

  /**
   * Maps device registers. The file descriptor stays the caller's.
   *
   * @param offset - in bytes into the file, a multiple of the page size
   * @throws NativeError NATIVE_CALL_FAILED
   */
  static map(fd: number, offset: number, size: number): MmioMapping {
    return new MmioMapping(checked('mmap of a device region', shim().memory_map(fd, offset, size, 1)), size);
  }

  read(offset: number, width: 1 | 2 | 4): number {
    const address = this.#addressOf(offset, width);
    if (width === 4) return this.#shim.mmio_read32(address);
    if (width === 2) return this.#shim.mmio_read16(address);
    return this.#shim.mmio_read8(address);
  }

  /** Everything written to memory before is visible to the device before the register is written. */
  write(offset: number, width: 1 | 2 | 4, value: number): void {
    const address = this.#addressOf(offset, width);
    if (width === 4) this.#shim.mmio_write32(address, value);
    else if (width === 2) this.#shim.mmio_write16(address, value);
    else this.#shim.mmio_write8(address, value);
  }

  /** The virtual address of a register, for another thread: it stays valid, and leads nowhere after `close()`. */
  share(offset: number, width: 1 | 2 | 4): number {
    const address = this.#addressOf(offset, width);
    this.#shared = true;
    return address;
  }

  /** Calling it again does nothing. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    if (this.#shared) {
      checked('mmap over a device region', this.#shim.memory_retire(this.#address, this.size));
      return;
    }
    checked('munmap of a device region', this.#shim.memory_unmap(this.#address, this.size));
  }

  /** The last line of defence: whatever comes here out of bounds would take the process down. */
  #addressOf(offset: number, width: 1 | 2 | 4): number {
    if (!this.#open) throw new RangeError('The register mapping is closed');
    if (!(offset >= 0 && offset + width <= this.size && offset % width === 0)) {
      throw new RangeError(`No register of ${width} bytes at ${offset} in a mapping of ${this.size} bytes`);
    }
    return this.#address + offset;
  }
}
