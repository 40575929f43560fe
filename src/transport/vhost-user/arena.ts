/** A file in memory that the backend maps as a whole, and of which regions are given out. */
import type { DeviceAddress } from '../../memory/dma.js';
import type { MemoryFile } from '../../native/memory-file.js';
import { IovaAllocator } from '../../vfio/iova-allocator.js';
import type { MemoryAddress, ShareableRegion } from '../sharing.js';
import type { MemoryTableEntry } from './messages.js';

export class Arena {
  readonly file: MemoryFile;
  /** Address of the first byte as the backend is told it. */
  readonly start: number;
  /** Whether its regions are for other threads as well. */
  readonly shared: boolean;
  readonly #free: IovaAllocator;
  #regions = 0;

  constructor(file: MemoryFile, start: number, shared: boolean) {
    this.file = file;
    this.start = start;
    this.shared = shared;
    this.#free = new IovaAllocator([{ start, end: start + file.size }], file.unit);
  }

  get isEmpty(): boolean {
    return this.#regions === 0;
  }

  /** Addresses of ours mean nothing to the backend, so it is told the same numbers for both. */
  get entry(): MemoryTableEntry {
    return { guestAddress: this.start, userAddress: this.start, size: this.file.size, offset: 0 };
  }

  /** Whether a region of so many bytes fits. */
  hasRoom(size: number): boolean {
    return this.#free.largest >= size;
  }

  /**
   * Takes a zeroed region.
   *
   * @param size - in bytes, whole pages; there must be room for it
   * @throws NativeError NATIVE_CALL_FAILED
   */
  take(size: number, onFreed: (region: ArenaRegion) => void): ArenaRegion {
    const address = this.#free.allocate(size);
    try {
      const buffer = this.file.view(address - this.start, size);
      new Uint8Array(buffer).fill(0);
      this.#regions += 1;
      return new ArenaRegion(this, address, buffer, onFreed);
    } catch (error) {
      this.#free.free(address, size);
      throw error;
    }
  }

  /** @param shared - whether other threads have got at the region */
  giveBack(address: number, buffer: ArrayBuffer, size: number, shared: boolean): void {
    this.#regions -= 1;
    if (this.file.takeBack(buffer, size, shared)) this.#free.free(address, size);
  }
}

export class ArenaRegion implements ShareableRegion {
  readonly buffer: ArrayBuffer;
  readonly size: number;
  readonly #arena: Arena;
  readonly #address: number;
  readonly #onFreed: (region: ArenaRegion) => void;
  #shared = false;
  #freed = false;

  constructor(arena: Arena, address: number, buffer: ArrayBuffer, onFreed: (region: ArenaRegion) => void) {
    this.buffer = buffer;
    this.size = buffer.byteLength;
    this.#arena = arena;
    this.#address = address;
    this.#onFreed = onFreed;
  }

  get arena(): Arena {
    return this.#arena;
  }

  share(): MemoryAddress {
    this.#check(0, 0);
    this.#shared = true;
    const { file, start } = this.#arena;
    return { address: file.address + this.#address - start, size: this.size };
  }

  addressOf(offset: number): DeviceAddress {
    this.#check(offset, 0);
    return { lo: this.#address + offset, hi: 0 };
  }

  isContiguous(offset: number, length: number): boolean {
    this.#check(offset, length);
    return true;
  }

  free(): void {
    if (this.#freed) return;
    this.#freed = true;
    this.#arena.giveBack(this.#address, this.buffer, this.size, this.#shared);
    this.#onFreed(this);
  }

  #check(offset: number, length: number): void {
    if (this.#freed) throw new RangeError('The region was freed: it has no device address any more');
    if (offset >= 0 && length >= 0 && offset + length <= this.size) return;
    throw new RangeError(`No ${length} bytes at ${offset} in a region of ${this.size} bytes`);
  }
}
