/** Descriptors, which differ between the ring formats in their last two words alone (VIRTIO 1.3, 2.7.5, 2.8.13). */
import type { Segment } from './chain.js';

/** Length of a descriptor in bytes. */
export const DESCRIPTOR_LENGTH = 16;

export const FLAG_NEXT = 1;
export const FLAG_WRITE = 2;
export const FLAG_INDIRECT = 4;

/** A descriptor as it was when it was read. */
export interface Descriptor {
  /** Its own bytes. */
  readonly segment: Segment;
  readonly lo: number;
  readonly hi: number;
  readonly length: number;
  /** The two 16-bit words behind the length. */
  readonly words: readonly [number, number];
}

/** Reads the descriptor at an index of a table or ring, which must have one there. */
export function descriptorAt(table: Segment, index: number): Descriptor {
  const start = index * DESCRIPTOR_LENGTH;
  const bytes = table.bytes.subarray(start, start + DESCRIPTOR_LENGTH);
  const view = new DataView(bytes.buffer, bytes.byteOffset, DESCRIPTOR_LENGTH);
  return {
    segment: { ...table, address: table.address + start, length: DESCRIPTOR_LENGTH, bytes },
    lo: view.getUint32(0, true),
    hi: view.getUint32(4, true),
    length: view.getUint32(8, true),
    words: [view.getUint16(12, true), view.getUint16(14, true)],
  };
}
