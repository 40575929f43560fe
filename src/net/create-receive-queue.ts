import type { PacketPool } from '../memory/packet-pool.js';
import { HEADROOM } from '../memory/packet-constants.js';
import type { NegotiatedFeatures } from './features.js';
import { LARGE_FRAME_CAPACITY } from './frame-capacity.js';
import { VLAN_TAG_SIZE } from './header-constants.js';
import { headerSize } from './header.js';
import { createHeaderReader } from './receive-header.js';
import { MergingReceiveQueue } from './receive-merging.js';
import { createPoster } from './receive-poster.js';
import type { ReceiveParts, ReceiveQueue } from './receive-queue.js';
import { OffloadReceiveQueue, PlainReceiveQueue } from './receive-single.js';

/** What a device may spread over mergeable buffers, in bytes, whatever was negotiated beside them. */
const LONGEST_FRAME = LARGE_FRAME_CAPACITY + VLAN_TAG_SIZE;

/** The receive queue for what was negotiated, so that none of it has to be looked at for each frame. */
export function createReceiveQueue(
  parts: Omit<ReceiveParts, 'poster' | 'descriptorsPerFrame'>,
  features: Pick<NegotiatedFeatures, 'has'>,
  legacy: boolean,
): ReceiveQueue {
  const size = headerSize(features, legacy);
  const merging = features.has('VIRTIO_NET_F_MRG_RXBUF');
  const { pool } = parts;
  const poster = createPoster(pool, {
    headerSize: size,
    descriptors: pool.descriptorsPerBuffer,
    headerApart: needsHeaderApart(features, legacy),
  });
  const buffers = merging ? Math.ceil((size + LONGEST_FRAME) / (pool.stride - HEADROOM + size)) : 1;
  const descriptorsPerFrame = buffers * piecesOfBuffer(pool, features, legacy);
  const all = { ...parts, poster, descriptorsPerFrame };
  const reader = createHeaderReader(features, legacy);
  if (merging) return new MergingReceiveQueue(all, size, reader);
  return reader === undefined ? new PlainReceiveQueue(all, size) : new OffloadReceiveQueue(all, size, reader);
}

/** The most descriptors that one buffer takes, its header included. */
export function piecesOfBuffer(
  pool: PacketPool,
  features: Pick<NegotiatedFeatures, 'has'>,
  legacy: boolean,
): number {
  return pool.descriptorsPerBuffer + (needsHeaderApart(features, legacy) ? 1 : 0);
}

function needsHeaderApart(features: Pick<NegotiatedFeatures, 'has'>, legacy: boolean): boolean {
  return legacy && !features.has('VIRTIO_F_ANY_LAYOUT');
}
