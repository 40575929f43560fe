/** A region of a VFIO device: a BAR, or the configuration space. */
import { shim } from '../native/shim.js';
import type { AccessWidth } from '../transport/transport.js';
import { parseSparseAreas, type Range } from './capability-chain.js';
import { REGION_CAP_SPARSE_MMAP, REGION_FLAG } from './constants.js';
import { vfioCall } from './failures.js';
import { fetchInfo } from './info.js';

const REGION_INFO_BYTES = 32;

export interface RegionInfo {
  /** Length in bytes; 0 where the device has no such region. */
  readonly size: number;
  /** Where it begins in the device file. */
  readonly offset: number;
  /** The parts that may be mapped, as offsets into the region. */
  readonly mappable: readonly Range[];
}

/** @throws VfioError VFIO_CALL_FAILED */
export function readRegionInfo(deviceFd: number, index: number): RegionInfo {
  const bytes = fetchInfo('VFIO_DEVICE_GET_REGION_INFO', REGION_INFO_BYTES, (buffer) =>
    shim().vfio_region_info(deviceFd, index, buffer, buffer.length),
  );
  return parseRegionInfo(bytes);
}

/** Reads a `struct vfio_region_info` with its capability chain. */
export function parseRegionInfo(bytes: Uint8Array): RegionInfo {
  const info = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const flags = info.getUint32(4, true);
  const size = Number(info.getBigUint64(16, true));
  return {
    size,
    offset: Number(info.getBigUint64(24, true)),
    mappable: findMappable(bytes, flags, info.getUint32(12, true), size),
  };
}

function findMappable(bytes: Uint8Array, flags: number, firstCapability: number, size: number): Range[] {
  if ((flags & REGION_FLAG.MMAP) === 0 || size === 0) return [];
  const first = (flags & REGION_FLAG.CAPS) === 0 ? 0 : firstCapability;
  return parseSparseAreas(bytes, first, REGION_CAP_SPARSE_MMAP, size) ?? [{ start: 0, end: size }];
}

/** Throws unless the access lies in the region and on a multiple of its width. */
export function checkAccess(what: string, size: number, offset: number, width: AccessWidth): void {
  if (offset >= 0 && offset + width <= size && offset % width === 0) return;
  throw new RangeError(`${what} has ${size} bytes: no access of ${width} bytes at ${offset}`);
}

/** Reads from a region by system call; the caller has checked the bounds. */
export function readRegion(fd: number, region: RegionInfo, offset: number, width: AccessWidth): number {
  const result = shim().region_read(fd, region.offset + offset, width);
  return vfioCall('read of a device region', result, ACCESS_REFUSED);
}

/** Writes to a region by system call; the caller has checked the bounds. */
export function writeRegion(
  fd: number,
  region: RegionInfo,
  offset: number,
  width: AccessWidth,
  value: number,
): void {
  const result = shim().region_write(fd, region.offset + offset, width, value >>> 0);
  vfioCall('write to a device region', result, ACCESS_REFUSED);
}

const ACCESS_REFUSED =
  'The kernel refuses it while the decoding of memory is off: enable the function first. Otherwise the device ' +
  'may be gone; see the kernel log (dmesg).';
