/** Notification coalescing: fewer interrupts, each for more frames (VIRTIO 1.3, 5.1.6.5.9). */
import { requireFields } from '../arguments.js';
import { requireInteger } from './requirements.js';

/** When the device interrupts: as soon as one of the two is reached. With 0 in either it does so for each frame. */
export interface Coalescing {
  /** Frames after which it interrupts. */
  readonly maxPackets: number;
  /** Time in microseconds after which it interrupts. */
  readonly maxMicroseconds: number;
}

const MOST = 0xffff_ffff;
const COALESCING_LENGTH = 8;

/**
 * struct virtio_net_ctrl_coal.
 *
 * @throws UsageError OPTION_INVALID
 */
export function encodeCoalescing(coalescing: Coalescing): Uint8Array {
  const names = ['maxPackets', 'maxMicroseconds'] satisfies (keyof Coalescing)[];
  requireFields('Coalescing', coalescing, names);
  const { maxPackets, maxMicroseconds } = coalescing;
  requireInteger('maxPackets', maxPackets, 0, MOST);
  requireInteger('maxMicroseconds', maxMicroseconds, 0, MOST);
  const bytes = new Uint8Array(COALESCING_LENGTH);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, maxPackets, true);
  view.setUint32(4, maxMicroseconds, true);
  return bytes;
}

/** The first fields of struct virtio_net_ctrl_coal_vq: vq_index and reserved. */
export function encodeQueue(queue: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint16(0, queue, true);
  return bytes;
}

/** What the device filled into struct virtio_net_ctrl_coal. */
export function decodeCoalescing(bytes: Uint8Array): Coalescing {
  const view = new DataView(bytes.buffer, bytes.byteOffset, COALESCING_LENGTH);
  return { maxPackets: view.getUint32(0, true), maxMicroseconds: view.getUint32(4, true) };
}

export { COALESCING_LENGTH };
