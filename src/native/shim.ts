/**
 * The shim's functions, typed. Each but `abiVersion` returns a negated errno or a value; callers pass the
 * result through `checked()`. What a function does is said in native-shim/virtio-net-shim.h.
 */
import { NativeError } from '../errors.js';
import { koffi, type KoffiLibrary } from './koffi.js';
import { findShim } from './shim-path.js';

/** The version of the shim's interface that this code was written for. */
export const SHIM_ABI = 5;

/** The C types of each function's arguments; addresses and sizes are exact in a number. */
const SIGNATURES = {
  close: ['int32_t'],
  eventfd_create: [],
  eventfd_signal: ['int32_t'],
  eventfd_drain: ['int32_t'],
  page_size: [],
  memory_allocate: ['uint64_t', 'uint32_t'],
  memory_map: ['int32_t', 'uint64_t', 'uint64_t', 'uint32_t'],
  memory_file_create: ['uint64_t', 'uint32_t'],
  memory_file_map: ['int32_t', 'uint64_t'],
  memory_file_populate: ['int32_t', 'uint64_t', 'uint64_t', 'uint64_t'],
  memory_unmap: ['uint64_t', 'uint64_t'],
  memory_retire: ['uint64_t', 'uint64_t'],
  memory_pin: ['uint64_t', 'uint64_t'],
  memory_unpin: ['int32_t'],
  mmio_read8: ['uint64_t'],
  mmio_read16: ['uint64_t'],
  mmio_read32: ['uint64_t'],
  mmio_write8: ['uint64_t', 'uint32_t'],
  mmio_write16: ['uint64_t', 'uint32_t'],
  mmio_write32: ['uint64_t', 'uint32_t'],
  region_read: ['int32_t', 'uint64_t', 'uint32_t'],
  region_write: ['int32_t', 'uint64_t', 'uint32_t', 'uint32_t'],
  vfio_api_version: ['int32_t'],
  vfio_check_extension: ['int32_t', 'uint32_t'],
  vfio_set_iommu: ['int32_t', 'uint32_t'],
  vfio_iommu_info: ['int32_t', 'void *', 'uint32_t'],
  vfio_map_dma: ['int32_t', 'uint64_t', 'uint64_t', 'uint64_t'],
  vfio_unmap_dma: ['int32_t', 'uint64_t', 'uint64_t'],
  vfio_group_status: ['int32_t'],
  vfio_group_attach: ['int32_t', 'int32_t'],
  vfio_group_detach: ['int32_t'],
  vfio_device_fd: ['int32_t', 'str'],
  vfio_device_info: ['int32_t', 'void *', 'uint32_t'],
  vfio_region_info: ['int32_t', 'uint32_t', 'void *', 'uint32_t'],
  vfio_irq_info: ['int32_t', 'uint32_t', 'void *', 'uint32_t'],
  vfio_irq_enable: ['int32_t', 'uint32_t', 'void *', 'uint32_t'],
  vfio_irq_disable: ['int32_t', 'uint32_t'],
  vfio_irq_mask: ['int32_t', 'uint32_t'],
  vfio_irq_unmask: ['int32_t', 'uint32_t'],
  vfio_device_reset: ['int32_t'],
  socket_connect: ['str'],
  socket_listen: ['str'],
  socket_accept: ['int32_t'],
  socket_send: ['int32_t', 'void *', 'uint32_t', 'void *', 'uint32_t'],
  socket_receive: ['int32_t', 'void *', 'uint32_t', 'void *', 'uint32_t'],
  socket_wait: ['int32_t', 'uint32_t', 'int32_t'],
  install: ['uintptr_t', 'str'],
} as const;

interface ArgumentTypes {
  int32_t: number;
  uint32_t: number;
  uint64_t: number;
  uintptr_t: bigint;
  str: string;
  'void *': Uint8Array | Int32Array;
}

type Arguments<Types extends readonly (keyof ArgumentTypes)[]> = {
  [Index in keyof Types]: ArgumentTypes[Types[Index]];
};

/** The shim's functions by their name without the prefix `vn_`. */
export type Shim = {
  readonly [Name in keyof typeof SIGNATURES]: (...args: Arguments<(typeof SIGNATURES)[Name]>) => number;
};

let loaded: Shim | undefined;

/**
 * The shim, loaded when first asked for.
 *
 * @throws NativeError NATIVE_UNSUPPORTED_PLATFORM, NATIVE_SHIM_MISSING, NATIVE_SHIM_ABI
 */
export function shim(): Shim {
  loaded ??= bind(open());
  return loaded;
}

function open(): KoffiLibrary {
  // First, since the lookup below would name a file that no such platform has.
  const ffi = koffi();
  return openShim(ffi.load, findShim());
}

/** Opens the file and checks that it is a shim of the version that this code needs. */
export function openShim(load: (path: string) => KoffiLibrary, path: string): KoffiLibrary {
  let library: KoffiLibrary;
  let version: number;
  try {
    library = load(path);
    version = (library.func('vn_abi_version', 'uint32_t', []) as () => number)();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new NativeError('NATIVE_SHIM_ABI', `${path} could not be loaded as the native shim: ${reason}`, {
      cause,
    });
  }
  if (version === SHIM_ABI) return library;
  throw new NativeError(
    'NATIVE_SHIM_ABI',
    `${path} has version ${version} of the shim's interface where ${SHIM_ABI} is needed`,
  );
}

function bind(library: KoffiLibrary): Shim {
  const functions = Object.entries(SIGNATURES).map(([name, types]) => [
    name,
    library.func(`vn_${name}`, 'int64_t', [...types]),
  ]);
  return Object.fromEntries(functions) as Shim;
}
