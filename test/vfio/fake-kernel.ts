/**
 * VFIO without a kernel that has it: the ioctls of the shim are answered by a model, all other calls are real. A
 * file stands for the device; opening, mapping and accessing it are what they are, so that leaks show.
 */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { vi } from 'vitest';
import { shim, type Shim } from '../../src/native/shim.js';
import { CONFIG_REGION, MSIX_IRQ } from '../../src/vfio/constants.js';

type Call = keyof Shim;
type AnyCall = (...args: unknown[]) => number;

/** Where things are in the device file, and how long they are, in bytes. */
const CONFIG = { offset: 0, size: 256 };
const BAR = { number: 4, offset: 0x1_0000, size: 0x4000 };
const VIABLE = 1;
const PCI_WITH_RESET = 3;
const READ_WRITE_MMAP = 7;
const EVENTFD = 1;
const EIO = 5;
const VECTORS = 3;

/** Calls that undo something, and that the kernel has done even where it says that they failed. */
const DONE_ANYHOW = new Set<Call>(['close', 'memory_unmap', 'memory_retire', 'memory_unpin']);
/** Calls that can not fail: loads and stores, and what asks for a constant. */
const NEVER_FAIL = /^(mmio_.*|page_size|install)$/;

export class FakeKernel {
  /** The names of the shim's functions that were called and can fail, in order. */
  readonly calls: Call[] = [];
  /** What should never happen, and did. */
  readonly violations: string[] = [];
  /** The file that stands for the device. */
  readonly devicePath: string;
  readonly #configSpace: Uint8Array;
  readonly #bar: Uint8Array;
  /** Device addresses that are mapped: the memory behind each, and its length. */
  readonly #dma = new Map<number, { address: number; size: number }>();
  readonly #real: Shim;
  /** The call to fail, by its number in `calls`; none while negative. */
  #failAt = -1;

  constructor(folder: string, configSpace: Uint8Array, bar: Uint8Array) {
    this.devicePath = join(folder, 'device');
    this.#configSpace = configSpace;
    this.#bar = bar;
    this.#real = { ...shim() };
    this.restart();
    this.#replaceCalls();
  }

  /** Gives the registers what they hold at first, and forgets what was called. */
  restart(failAt = -1): void {
    const fd = openSync(this.devicePath, 'w+');
    ftruncateSync(fd, BAR.offset + BAR.size);
    writeSync(fd, this.#configSpace, 0, CONFIG.size, CONFIG.offset);
    writeSync(fd, this.#bar, 0, this.#bar.length, BAR.offset);
    closeSync(fd);
    this.calls.length = 0;
    this.#failAt = failAt;
  }

  #replaceCalls(): void {
    const model = this.#model();
    const calls = shim() as Record<string, AnyCall>;
    for (const name of Object.keys(this.#real) as Call[]) {
      const act = (model[name] ?? this.#real[name]) as AnyCall;
      vi.spyOn(calls, name).mockImplementation((...args: unknown[]) => {
        if (NEVER_FAIL.test(name)) return act(...args);
        const fails = this.calls.push(name) - 1 === this.#failAt;
        if (fails && !DONE_ANYHOW.has(name)) return -EIO;
        const result = act(...args);
        return fails ? -EIO : result;
      });
    }
  }

  #model(): Partial<Shim> {
    return {
      vfio_api_version: () => 0,
      vfio_check_extension: () => 1,
      vfio_set_iommu: () => 0,
      vfio_iommu_info: () => 24,
      vfio_map_dma: (_container, address, iova, size) => {
        this.#dma.set(iova, { address, size });
        return 0;
      },
      vfio_unmap_dma: (_container, iova, size) => (this.#dma.delete(iova) ? size : 0),
      vfio_group_status: () => VIABLE,
      vfio_group_attach: () => 0,
      vfio_group_detach: () => 0,
      vfio_device_fd: () => openSync(this.devicePath, 'r+'),
      vfio_device_info: (_device, info) => fill(info, [32, PCI_WITH_RESET, 9, 5]),
      vfio_region_info: (_device, index, info) => fill(info, regionInfo(index)),
      vfio_irq_info: (_device, index, info) => fill(info, [16, EVENTFD, index, vectorsOf(index)]),
      vfio_irq_enable: () => 0,
      vfio_irq_disable: () => 0,
      vfio_device_reset: () => 0,
      memory_unmap: (address, size) => {
        for (const mapped of this.#dma.values()) {
          if (mapped.address === address) this.violations.push('memory was unmapped that the device reaches');
        }
        return this.#real.memory_unmap(address, size);
      },
    };
  }
}

const vectorsOf = (index: number): number => (index === MSIX_IRQ ? VECTORS : 0);

function regionInfo(index: number): number[] {
  if (index === CONFIG_REGION) return [32, 3, index, 0, CONFIG.size, 0, CONFIG.offset, 0];
  if (index === BAR.number) return [32, READ_WRITE_MMAP, index, 0, BAR.size, 0, BAR.offset, 0];
  return [32, 0, index, 0, 0, 0, 0, 0];
}

function fill(info: Uint8Array | Int32Array, words: readonly number[]): number {
  const bytes = new Uint8Array(Uint32Array.from(words).buffer);
  new Uint8Array(info.buffer, info.byteOffset, info.byteLength).set(bytes.subarray(0, info.byteLength));
  return words[0];
}
