/**
 * How a receive buffer is posted: as one descriptor wherever that is possible (VIRTIO 1.3, 5.1.6.3).
 */
import { HEADROOM } from '../memory/packet-constants.js';
import { DescriptorChain } from '../virtqueue/descriptor-chain.js';
import type { PacketPool } from '../memory/packet-pool.js';
import { BufferTable } from '../virtqueue/buffer-table.js';
import type { Virtqueue } from '../virtqueue/virtqueue.js';
import { appendWritable } from './buffer-chain.js';

export interface ReceivePoster {
  /**
   * Adds buffers to the ring, each from its header on, as far as it has room.
   *
   * @param tokens - `count` entries from `from` on are the indexes of the buffers
   * @returns how many were added
   */
  post(ring: Virtqueue, tokens: Int32Array, count: number, from: number): number;
}

export interface PosterOptions {
  /** Length in bytes of the virtio_net_hdr. */
  readonly headerSize: number;
  /** The most descriptors that a buffer takes. */
  readonly descriptors: number;
  /**
   * The header gets a descriptor of its own: what a legacy device without VIRTIO_F_ANY_LAYOUT asks for (5.1.6.6), with
   * VIRTIO_NET_F_MRG_RXBUF too, though there a buffer may come to hold no header at all.
   */
  readonly headerApart: boolean;
}

/** The way to post the buffers of that pool. */
export function createPoster(pool: PacketPool, options: PosterOptions): ReceivePoster {
  return options.descriptors > 1 || options.headerApart
    ? new ChainPoster(pool, options)
    : new SinglePoster(pool, options);
}

class SinglePoster implements ReceivePoster {
  private readonly buffers: BufferTable;

  constructor(pool: PacketPool, { headerSize }: PosterOptions) {
    const offset = HEADROOM - headerSize;
    this.buffers = new BufferTable(pool.size);
    for (const { index, addressLo, addressHi } of pool.packets) {
      this.buffers.set(index, addressLo + offset, addressHi, pool.stride - offset);
    }
  }

  post(ring: Virtqueue, tokens: Int32Array, count: number, from: number): number {
    return ring.addWritableBurst(tokens, count, this.buffers, from);
  }
}

class ChainPoster implements ReceivePoster {
  private readonly pool: PacketPool;
  private readonly chain: DescriptorChain;
  private readonly headerSize: number;
  private readonly headerApart: boolean;

  constructor(pool: PacketPool, { headerSize, descriptors, headerApart }: PosterOptions) {
    this.pool = pool;
    this.headerSize = headerSize;
    this.headerApart = headerApart;
    this.chain = new DescriptorChain(descriptors + 1);
  }

  post(ring: Virtqueue, tokens: Int32Array, count: number, from: number): number {
    let posted = 0;
    while (posted < count && this.postOne(ring, tokens[from + posted])) posted += 1;
    return posted;
  }

  private postOne(ring: Virtqueue, token: number): boolean {
    const { headerSize } = this;
    const packet = this.pool.packets[token];
    const chain = this.chain.clear();
    const start = HEADROOM - headerSize;
    const data = this.headerApart ? HEADROOM : start;
    appendWritable(chain, packet, start, data - start);
    appendWritable(chain, packet, data, packet.bytes.length - data);
    return ring.addChain(token, chain);
  }
}
