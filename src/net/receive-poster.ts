/**
 * How a receive buffer is posted: as one descriptor wherever that is possible (VIRTIO 1.3, 5.1.6.3).
 */
import { HEADROOM, type PacketBuffer } from '../memory/packet-buffer.js';
import { DescriptorChain } from '../virtqueue/descriptor-chain.js';
import type { Virtqueue } from '../virtqueue/virtqueue.js';
import { appendWritable } from './buffer-chain.js';

export interface ReceivePoster {
  /** Adds a buffer to the ring, from its header on; false if the ring has no room for it. */
  post(ring: Virtqueue, packet: PacketBuffer): boolean;
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

/** The way to post buffers of that kind. */
export function createPoster(options: PosterOptions): ReceivePoster {
  return options.descriptors > 1 || options.headerApart
    ? new ChainPoster(options)
    : new SinglePoster(options);
}

class SinglePoster implements ReceivePoster {
  private readonly offset: number;

  constructor({ headerSize }: PosterOptions) {
    this.offset = HEADROOM - headerSize;
  }

  post(ring: Virtqueue, packet: PacketBuffer): boolean {
    const { offset } = this;
    return ring.addWritable(
      packet.index,
      packet.addressLo + offset,
      packet.addressHi,
      packet.bytes.length - offset,
    );
  }
}

class ChainPoster implements ReceivePoster {
  private readonly chain: DescriptorChain;
  private readonly headerSize: number;
  private readonly headerApart: boolean;

  constructor({ headerSize, descriptors, headerApart }: PosterOptions) {
    this.headerSize = headerSize;
    this.headerApart = headerApart;
    this.chain = new DescriptorChain(descriptors + 1);
  }

  post(ring: Virtqueue, packet: PacketBuffer): boolean {
    const { headerSize } = this;
    const chain = this.chain.clear();
    const start = HEADROOM - headerSize;
    const data = this.headerApart ? HEADROOM : start;
    appendWritable(chain, packet, start, data - start);
    appendWritable(chain, packet, data, packet.bytes.length - data);
    return ring.addChain(packet.index, chain);
  }
}
