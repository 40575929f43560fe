/** Buffers as the device sees them: descriptor chains, whatever the ring format that they came by. */
import { hex, type SimulatedMemory } from './memory.js';
import type { DeviceAddress } from '../memory/dma.js';
import type { SimulatedRegion } from './memory.js';
import { DriverViolation } from './violation.js';

/** The piece of memory that one descriptor describes. */
export interface Segment {
  readonly region: SimulatedRegion;
  /** Its device address, for messages. */
  readonly address: number;
  readonly length: number;
  /** Its bytes; empty once the region was freed. */
  readonly bytes: Uint8Array;
}

/** Finds the piece of memory at a device address. */
export function segmentAt(
  memory: SimulatedMemory,
  what: string,
  address: DeviceAddress,
  length: number,
): Segment {
  const { region, offset } = memory.resolve(what, address, length);
  return {
    region,
    address: address.hi * 2 ** 32 + address.lo,
    length,
    bytes: new Uint8Array(region.buffer, offset, length),
  };
}

/** A buffer that the driver made available and the device has taken. */
export interface Chain {
  /** What the driver gets back as the id of the used buffer. */
  readonly id: number;
  /** What messages call it, by its head or its buffer id. */
  readonly name: string;
  /** The entries of the ring that the buffer occupies. */
  readonly entries: readonly number[];
  /** A copy of all that the device may read, in order: the device works on this. */
  readonly readable: Uint8Array<ArrayBuffer>;
  readonly readableSegments: readonly Segment[];
  readonly writableSegments: readonly Segment[];
  /** How many bytes the device may write. */
  readonly writableLength: number;
  /** The descriptors that the driver must leave alone for as long as the device owns the buffer. */
  readonly descriptors: readonly Segment[];
}

/** A copy of the bytes of all segments, in order. */
export function gather(segments: readonly Segment[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(totalLength(segments));
  let at = 0;
  for (const segment of segments) {
    bytes.set(segment.bytes, at);
    at += segment.length;
  }
  return bytes;
}

/** Writes the bytes over the segments, in order; they must not be more than fit. */
export function scatter(segments: readonly Segment[], bytes: Uint8Array): void {
  let at = 0;
  for (const segment of segments) {
    if (at === bytes.length) return;
    checkReachable(segment);
    const part = bytes.subarray(at, at + segment.length);
    segment.bytes.set(part);
    at += part.length;
  }
}

export function totalLength(segments: readonly Segment[]): number {
  return segments.reduce((sum, segment) => sum + segment.length, 0);
}

function checkReachable(segment: Segment): void {
  if (segment.bytes.length === segment.length) return;
  throw new DriverViolation(`the buffer at ${hex(segment.address)} was freed while the device owned it`);
}
