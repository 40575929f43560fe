/**
 * Receive queues in which a frame may be spread over several buffers: with VIRTIO_NET_F_MRG_RXBUF (VIRTIO 1.3, 5.1.6.4).
 *
 * The first buffer begins with the header, which says how many there are; the others hold nothing but the frame.
 */
import { QueueError } from '../errors.js';
import { HEADROOM, OWNER, type PacketBuffer } from '../memory/packet-buffer.js';
import { NOTHING_USED } from '../virtqueue/virtqueue.js';
import { ETHERNET_HEADER_SIZE, HEADER } from './header.js';
import type { HeaderReader } from './receive-header.js';
import { ReceiveQueue, type ReceiveParts } from './receive-queue.js';

/** A reader for headers in which nothing but the number of buffers means anything. */
const NOTHING_TO_READ: HeaderReader = { read: () => true };

export class MergingReceiveQueue extends ReceiveQueue {
  private readonly headerSize: number;
  /** Where in a buffer the number of buffers lies, in two bytes. */
  private readonly buffersAt: number;
  private readonly reader: HeaderReader;
  /** The frame whose first buffers have come, with the last one of those, and how many are still to come. */
  private head: PacketBuffer | undefined;
  private tail: PacketBuffer | undefined;
  private missing = 0;
  private failure: QueueError | undefined;

  constructor(parts: ReceiveParts, headerSize: number, reader: HeaderReader = NOTHING_TO_READ) {
    super(parts);
    this.headerSize = headerSize;
    this.buffersAt = HEADROOM - headerSize + HEADER.BUFFERS;
    this.reader = reader;
  }

  protected override get violation(): QueueError | undefined {
    return this.failure;
  }

  protected override dropUnfinished(): void {
    const { head } = this;
    this.failure = undefined;
    this.forget();
    if (head !== undefined) this.pool.put(head);
  }

  protected collect(batch: PacketBuffer[], from: number, max: number): number {
    const { ring, pool, counters } = this;
    let count = from;
    while (count < max && this.failure === undefined) {
      const token = ring.take();
      if (token === NOTHING_USED) break;
      const packet = pool.packets[token];
      const frame =
        this.missing === 0 ? this.begin(packet, ring.usedLength) : this.goOn(packet, ring.usedLength);
      if (frame === undefined) continue;
      const length = frame.totalLength;
      if (!this.isAcceptable(frame, length)) {
        pool.put(frame);
        continue;
      }
      frame.owner = OWNER.USER;
      counters.frames += 1;
      counters.bytes += length;
      batch[count] = frame;
      count += 1;
    }
    return count;
  }

  /** Takes the first buffer of a frame; gives the frame if that is all of it. */
  private begin(packet: PacketBuffer, used: number): PacketBuffer | undefined {
    // Less than a header says nothing of further buffers: such a frame is dropped as too short.
    const buffers =
      used < this.headerSize ? 1 : packet.bytes[this.buffersAt] | (packet.bytes[this.buffersAt + 1] << 8);
    packet.length = Math.max(0, used - this.headerSize);
    if (buffers === 1) return packet;
    // No device can use what it does not have; and it uses all buffers of a frame together.
    if (buffers === 0 || buffers - 1 > this.ring.outstanding) {
      this.breakDown(buffers);
      this.pool.put(packet);
      return undefined;
    }
    this.head = packet;
    this.tail = packet;
    this.missing = buffers - 1;
    return undefined;
  }

  /** Takes a further buffer of a frame; gives the frame if it is complete with it. */
  private goOn(packet: PacketBuffer, used: number): PacketBuffer | undefined {
    const { head } = this;
    packet.start = HEADROOM - this.headerSize;
    packet.length = used;
    packet.owner = OWNER.USER;
    this.tail?.link(packet);
    this.tail = packet;
    this.missing -= 1;
    if (this.missing > 0) return undefined;
    this.forget();
    return head;
  }

  private isAcceptable(frame: PacketBuffer, length: number): boolean {
    if (length < ETHERNET_HEADER_SIZE) {
      this.drops.short += 1;
      return false;
    }
    if (this.reader.read(frame)) return true;
    this.drops.offload += 1;
    return false;
  }

  private forget(): void {
    this.head = undefined;
    this.tail = undefined;
    this.missing = 0;
  }

  private breakDown(buffers: number): void {
    const { index, outstanding } = this.ring;
    this.failure = new QueueError(
      'QUEUE_BROKEN',
      `The device broke the protocol on queue ${index}: it spread a frame over ${buffers} buffers, and had ${outstanding + 1}`,
    );
  }
}
