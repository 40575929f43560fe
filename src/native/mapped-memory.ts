/** Memory mappings, with and without an ArrayBuffer over them. */
import { NativeError } from '../errors.js';
import { checked } from './errno.js';
import { detachArrayBuffer } from './node-functions.js';
import { koffi } from './koffi.js';
import { shim } from './shim.js';

/** What kind of memory {@link MappedMemory.allocate} gives. */
export interface AllocateOptions {
  /** Back the memory with huge pages of this size; the system must have set some aside. */
  readonly hugePages?: '2M' | '1G' | undefined;
  /** Lock the memory (mlock), for devices that are given physical addresses without VFIO pinning it. */
  readonly locked?: boolean | undefined;
}

const LOCKED = 1;
const HUGE_FLAG = { '2M': 2, '1G': 4 } as const;
const HUGE_SIZE = { '2M': 2 ** 21, '1G': 2 ** 30 } as const;
/** From 8 GiB on, V8 ends the process instead of refusing the view. */
const LARGEST_VIEW = 4 * 2 ** 30;

let knownPageSize: number | undefined;

/** The size of a page of this system, in bytes. */
export function pageSize(): number {
  knownPageSize ??= checked('getpagesize', shim().page_size());
  return knownPageSize;
}

/** A mapping with an ArrayBuffer over it. */
export class MappedMemory {
  /** The virtual address of the first byte. */
  readonly address: number;
  /** Length in bytes, whole pages. */
  readonly size: number;
  /** The bytes; length 0 after `close()`. */
  readonly buffer: ArrayBuffer;
  #open = true;
  #shared = false;

  private constructor(address: number, size: number, buffer: ArrayBuffer) {
    this.address = address;
    this.size = size;
    this.buffer = buffer;
  }

  /**
   * Allocates zeroed memory that is populated and that a forked child does not inherit.
   *
   * @param size - in bytes; rounded up to whole pages
   * @throws NativeError NATIVE_CALL_FAILED, mostly with ENOMEM; RangeError for a size that can not be
   */
  static allocate(size: number, options: AllocateOptions = {}): MappedMemory {
    const { hugePages, locked = false } = options;
    const rounded = roundUp(size, hugePages === undefined ? pageSize() : HUGE_SIZE[hugePages]);
    const flags = (locked ? LOCKED : 0) | (hugePages === undefined ? 0 : HUGE_FLAG[hugePages]);
    const call = `mmap of ${rounded} bytes${hugePages === undefined ? '' : ` in huge pages of ${hugePages}`}`;
    return MappedMemory.#wrap(checked(call, shim().memory_allocate(rounded, flags)), rounded);
  }

  /**
   * Allocates memory as `allocate()` does, but more of it, of which it keeps the part that `choose` wants.
   *
   * @param size - of the part, in bytes; rounded up to whole pages
   * @param room - in bytes; rounded up to whole pages
   * @param choose - is given the address of the memory, and says where in it the part begins, on a page boundary
   * @returns undefined where no part is wanted
   * @throws NativeError, RangeError, and what `choose` throws
   */
  static allocatePart(
    size: number,
    room: number,
    choose: (address: number, room: number) => number | undefined,
  ): MappedMemory | undefined {
    const [part, whole] = [roundUp(size, pageSize()), roundUp(room, pageSize())];
    const address = checked(`mmap of ${whole} bytes`, shim().memory_allocate(whole, 0));
    let chosen: number | undefined;
    try {
      chosen = choose(address, whole);
    } finally {
      if (chosen === undefined) shim().memory_unmap(address, whole);
    }
    if (chosen === undefined) return undefined;
    if (chosen > 0) shim().memory_unmap(address, chosen);
    const rest = whole - chosen - part;
    if (rest > 0) shim().memory_unmap(address + chosen + part, rest);
    return MappedMemory.#wrap(address + chosen, part);
  }

  /**
   * Maps part of a file, shared with everyone who has it mapped. The file descriptor stays the caller's.
   *
   * @param offset - in bytes, a multiple of the page size
   * @param size - in bytes; rounded up to whole pages
   */
  static mapFile(fd: number, offset: number, size: number): MappedMemory {
    const rounded = roundUp(size, pageSize());
    const address = checked(`mmap of ${rounded} bytes of a file`, shim().memory_map(fd, offset, rounded, 1));
    return MappedMemory.#wrap(address, rounded);
  }

  static #wrap(address: number, size: number): MappedMemory {
    try {
      return new MappedMemory(address, size, koffi().view(BigInt(address), size));
    } catch (cause) {
      shim().memory_unmap(address, size);
      throw new NativeError(
        'NATIVE_CALL_FAILED',
        'This runtime lets no ArrayBuffer lie over foreign memory',
        {
          remedy:
            'Run the program in Node.js: runtimes with a memory cage for V8, such as Electron, can not do it.',
          syscall: 'napi_create_external_arraybuffer',
          cause,
        },
      );
    }
  }

  /** Says that other threads may have views of the memory: these have to stay valid when it is given back. */
  share(): void {
    this.#shared = true;
  }

  /**
   * Gives the memory back. Every view that was made of `buffer` has length 0 afterwards; where a program has
   * transferred `buffer` away, as a byte stream does with what it is given, or has shared the memory with another
   * thread, the views that are out of reach read zeros. Calling it again does nothing.
   */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    // Detached already means that another ArrayBuffer lies over the memory, which nobody here can reach.
    const ours = this.buffer.byteLength === this.size;
    if (ours && detachArrayBuffer(this.buffer) && !this.#shared) {
      checked('munmap', shim().memory_unmap(this.address, this.size));
    } else {
      // The views live on, so their addresses must stay valid: the pages go, zeros take their place.
      checked('mmap over retired memory', shim().memory_retire(this.address, this.size));
    }
  }
}

function roundUp(size: number, unit: number): number {
  if (!Number.isSafeInteger(size) || size <= 0 || size > LARGEST_VIEW) {
    throw new RangeError(`A mapping must have between 1 and ${LARGEST_VIEW} bytes, not ${size}`);
  }
  return Math.ceil(size / unit) * unit;
}
