/**
 * How packet buffers become descriptors: one each, where memory and interface allow that, else a chain.
 */
import type { PacketBuffer } from '../memory/packet-buffer.js';
import type { DescriptorChain } from '../virtqueue/descriptor-chain.js';

type Add = (chain: DescriptorChain, lo: number, hi: number, length: number) => void;

/** Number of descriptors that the `length` bytes from `offset` on take. */
export function descriptorsFor(packet: PacketBuffer, offset: number, length: number): number {
  const { parts } = packet;
  if (length === 0) return 0;
  if (parts === undefined) return 1;
  let count = 0;
  for (let part = 0; part < parts.count; part += 1) {
    if (parts.offsets[part] < offset + length && parts.offsets[part + 1] > offset) count += 1;
  }
  return count;
}

/** Appends bytes of a buffer that the device reads. */
export function appendReadable(
  chain: DescriptorChain,
  packet: PacketBuffer,
  offset: number,
  length: number,
): void {
  append(chain, packet, offset, length, addReadable);
}

/** Appends bytes of a buffer that the device writes. */
export function appendWritable(
  chain: DescriptorChain,
  packet: PacketBuffer,
  offset: number,
  length: number,
): void {
  append(chain, packet, offset, length, addWritable);
}

function append(
  chain: DescriptorChain,
  packet: PacketBuffer,
  offset: number,
  length: number,
  add: Add,
): void {
  const { parts } = packet;
  if (length === 0) return;
  if (parts === undefined) {
    add(chain, packet.addressLo + offset, packet.addressHi, length);
    return;
  }
  for (let part = 0; part < parts.count; part += 1) {
    const first = parts.offsets[part];
    const from = Math.max(first, offset);
    const to = Math.min(parts.offsets[part + 1], offset + length);
    if (from < to) add(chain, parts.lo[part] + from - first, parts.hi[part], to - from);
  }
}

function addReadable(chain: DescriptorChain, lo: number, hi: number, length: number): void {
  chain.addReadable(lo, hi, length);
}

function addWritable(chain: DescriptorChain, lo: number, hi: number, length: number): void {
  chain.addWritable(lo, hi, length);
}
