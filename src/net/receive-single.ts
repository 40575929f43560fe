/** Receive queues in which each frame lies in one buffer: without VIRTIO_NET_F_MRG_RXBUF. */
import { OWNER, type PacketBuffer } from '../memory/packet-buffer.js';
import { NOTHING_USED } from '../virtqueue/virtqueue.js';
import { ETHERNET_HEADER_SIZE } from './header.js';
import type { HeaderReader } from './receive-header.js';
import { ReceiveQueue, type ReceiveParts } from './receive-queue.js';

/** Nothing in the header means anything, so it is not looked at. */
export class PlainReceiveQueue extends ReceiveQueue {
  private readonly headerSize: number;
  /** The shortest thing that is a frame, as the device counts: with its virtio-net header. */
  private readonly shortest: number;

  constructor(parts: ReceiveParts, headerSize: number) {
    super(parts);
    this.headerSize = headerSize;
    this.shortest = headerSize + ETHERNET_HEADER_SIZE;
  }

  protected collect(batch: PacketBuffer[], from: number, max: number): number {
    const { ring, pool, counters } = this;
    let count = from;
    while (count < max) {
      const token = ring.take();
      if (token === NOTHING_USED) break;
      const packet = pool.packets[token];
      const length = ring.usedLength;
      if (length < this.shortest) {
        this.drops.short += 1;
        pool.put(packet);
        continue;
      }
      packet.owner = OWNER.USER;
      packet.length = length - this.headerSize;
      counters.frames += 1;
      counters.bytes += packet.length;
      batch[count] = packet;
      count += 1;
    }
    return count;
  }
}

/** The header says what the device did with the frame. */
export class OffloadReceiveQueue extends ReceiveQueue {
  private readonly headerSize: number;
  private readonly shortest: number;
  private readonly reader: HeaderReader;

  constructor(parts: ReceiveParts, headerSize: number, reader: HeaderReader) {
    super(parts);
    this.headerSize = headerSize;
    this.shortest = headerSize + ETHERNET_HEADER_SIZE;
    this.reader = reader;
  }

  protected collect(batch: PacketBuffer[], from: number, max: number): number {
    const { ring, pool, counters, reader } = this;
    let count = from;
    while (count < max) {
      const token = ring.take();
      if (token === NOTHING_USED) break;
      const packet = pool.packets[token];
      packet.length = ring.usedLength - this.headerSize;
      if (ring.usedLength < this.shortest) {
        this.drops.short += 1;
        pool.put(packet);
        continue;
      }
      if (!reader.read(packet)) {
        this.drops.offload += 1;
        pool.put(packet);
        continue;
      }
      packet.owner = OWNER.USER;
      counters.frames += 1;
      counters.bytes += packet.length;
      batch[count] = packet;
      count += 1;
    }
    return count;
  }
}
