/**
 * Memory that is shared with a vhost-user backend: a few large files in memory, since a backend maps few (eight are
 * sure). They take memory only for what is given out of them, unless they consist of huge pages.
 */
import { MemoryError, UsageError } from '../../errors.js';
import type { AllocateOptions, DmaMemory } from '../../memory/dma.js';
import { MemoryFile } from '../../native/memory-file.js';
import { pageSize } from '../../native/mapped-memory.js';
import { forEachOf } from '../../vfio/each.js';
import { freeHugePages, HUGE_PAGE_BYTES, type HugePages } from '../../vfio/huge-pages.js';
import { IOVA_LIMIT, IovaAllocator } from '../../vfio/iova-allocator.js';
import { withoutHugePages, withoutMemory } from '../../vfio/memory-errors.js';
import { Arena, type ArenaRegion } from './arena.js';
import type { MemoryTableEntry } from './messages.js';

/** What SET_MEM_TABLE has room for. */
export const MOST_ARENAS = 8;
/** Addresses begin here, clear of the first ones: 0 looks like an error to many. */
const FIRST_ADDRESS = 0x1000_0000;
/**
 * Smallest file of usual pages, of which only what is used takes memory, unless the backend locks all of its own; and of
 * huge pages, which are taken at once.
 */
const LEAST_SIZE = 2 ** 24;
const LEAST_HUGE_SIZE = 2 ** 22;

/** The memory as the backend is told of it. */
export interface MemoryTable {
  readonly entries: readonly MemoryTableEntry[];
  readonly fds: readonly number[];
}

export interface VhostUserMemoryParts {
  readonly hugePages: HugePages;
  readonly sysfsRoot: string;
}

export class VhostUserMemory implements DmaMemory {
  readonly addressing = 'iova';
  readonly behindIommu = false;
  readonly hasOwnAddresses = true;
  readonly #parts: VhostUserMemoryParts;
  readonly #addresses: IovaAllocator;
  readonly #regions = new Set<ArenaRegion>();
  #arenas: Arena[] = [];
  #closed = false;

  constructor(parts: VhostUserMemoryParts) {
    this.#parts = parts;
    this.#addresses = new IovaAllocator([{ start: FIRST_ADDRESS, end: IOVA_LIMIT }], pageSize());
  }

  get allocatedBytes(): number {
    let bytes = 0;
    for (const region of this.#regions) bytes += region.size;
    return bytes;
  }

  get table(): MemoryTable {
    return {
      entries: this.#arenas.map(({ entry }) => entry),
      fds: this.#arenas.map(({ file }) => file.fd),
    };
  }

  setAddressing(kind: string): void {
    if (kind === this.addressing) return;
    throw new UsageError('OPTION_INVALID', 'Memory of a vhost-user backend has no physical addresses', {
      remedy: 'Take out { addressing: "physical" }.',
    });
  }

  allocate(size: number, options?: AllocateOptions): ArenaRegion {
    return this.#allocate(size, options, false);
  }

  /** As {@link allocate}, for other threads as well. */
  allocateShared(size: number, options?: AllocateOptions): ArenaRegion {
    return this.#allocate(size, options, true);
  }

  /** Frees what is still allocated; nothing can be allocated any more. */
  close(): void {
    this.#closed = true;
    forEachOf([...this.#regions], (region) => region.free());
  }

  #allocate(size: number, { buffers = false }: AllocateOptions = {}, shared: boolean): ArenaRegion {
    if (this.#closed) throw new UsageError('DEVICE_CLOSED', 'Memory was asked of a device that is closed');
    if (!Number.isSafeInteger(size) || size <= 0) {
      throw new UsageError('OPTION_INVALID', `A region of memory can not have ${size} bytes`, {
        remedy: 'Ask for a positive whole number of bytes.',
      });
    }
    const rounded = Math.ceil(size / pageSize()) * pageSize();
    const room = this.#arenas.find((each) => each.shared === shared && each.hasRoom(rounded));
    const arena = room ?? this.#grow(rounded, shared, buffers);
    try {
      const region = arena.take(rounded, (freed) => this.#onFreed(freed));
      this.#regions.add(region);
      return region;
    } catch (error) {
      if (arena.isEmpty) this.#discard(arena);
      throw withoutMemory(error, rounded);
    }
  }

  #grow(size: number, shared: boolean, buffers: boolean): Arena {
    if (this.#arenas.length === MOST_ARENAS) {
      throw new MemoryError(
        'MEMORY_EXHAUSTED',
        `No memory for ${size} bytes: a vhost-user backend maps no more than ${MOST_ARENAS} stretches`,
      );
    }
    const { hugePages } = this.#parts;
    const fixed = hugePages === '2M' || hugePages === '1G' ? hugePages : undefined;
    // As behind an IOMMU: what was asked for by its size holds for packet buffers.
    const huge = fixed === undefined || buffers ? (fixed ?? this.#worthwhile(size)) : undefined;
    const [file, start] = huge === undefined ? this.#createFile(size) : this.#createHugeFile(size, huge);
    const arena = new Arena(file, start, shared);
    this.#arenas.push(arena);
    return arena;
  }

  /** Huge pages, where there are enough of them. */
  #worthwhile(size: number): '2M' | undefined {
    if (this.#parts.hugePages !== 'auto') return undefined;
    const free = freeHugePages('2M', this.#parts.sysfsRoot);
    return free * HUGE_PAGE_BYTES['2M'] >= Math.max(size, LEAST_HUGE_SIZE) ? '2M' : undefined;
  }

  /** With each file the total doubles, so that eight are enough; near the end of the addresses it gets less. */
  #createFile(size: number): [MemoryFile, number] {
    const total = this.#arenas.reduce((sum, { file }) => sum + file.size, 0);
    const most = Math.max(size, LEAST_SIZE, total);
    const length = this.#addresses.largest >= most ? most : size;
    try {
      return this.#place(length, () => MemoryFile.create(length));
    } catch (error) {
      throw withoutMemory(error, length);
    }
  }

  #createHugeFile(size: number, huge: '2M' | '1G'): [MemoryFile, number] {
    const page = HUGE_PAGE_BYTES[huge];
    const length = Math.ceil(Math.max(size, LEAST_HUGE_SIZE) / page) * page;
    try {
      return this.#place(length, () => MemoryFile.create(length, huge));
    } catch (error) {
      // Others may have taken the pages meanwhile.
      if (this.#parts.hugePages === 'auto') return this.#createFile(size);
      throw withoutHugePages(error, huge, length);
    }
  }

  #place(length: number, create: () => MemoryFile): [MemoryFile, number] {
    const start = this.#addresses.allocate(length);
    try {
      return [create(), start];
    } catch (error) {
      this.#addresses.free(start, length);
      throw error;
    }
  }

  #onFreed(region: ArenaRegion): void {
    this.#regions.delete(region);
    if (region.arena.isEmpty) this.#discard(region.arena);
  }

  #discard(arena: Arena): void {
    this.#arenas = this.#arenas.filter((each) => each !== arena);
    this.#addresses.free(arena.start, arena.file.size);
    arena.file.close();
  }
}
