/**
 * Receive queues in which a frame may be spread over several buffers: with VIRTIO_NET_F_MRG_RXBUF (VIRTIO 1.3, 5.1.6.4).
 *
 * The first buffer begins with the header, which says how many there are; the others hold nothing but the frame.
 */
import { QueueError } from '../errors.js';
import { HEADROOM } from '../memory/packet-constants.js';
import type { PacketBuffer } from '../memory/packet-buffer.js';
import { ETHERNET_HEADER_SIZE } from './header-constants.js';
import { HEADER } from './header.js';
import type { HeaderReader } from './receive-header.js';
import { ReceiveQueue, type ReceiveParts } from './receive-queue.js';

/** A reader for headers in which nothing but the number of buffers means anything. */
const NOTHING_TO_READ: HeaderReader = { read: () => true };

export class MergingReceiveQueue extends ReceiveQueue {
  private readonly headerSize: number;
  /** Where in a buffer the number of buffers lies, in units of two bytes. */
  private readonly buffersAt: number;
  /** Those numbers, of what was taken from the ring at once. */
  private readonly spans: Uint16Array;
  private readonly reader: HeaderReader;
  /** The frame whose first buffers have come, with the last one of those, and how many are still to come. */
  private head: PacketBuffer | undefined;
  private tail: PacketBuffer | undefined;
  private missing = 0;
  /** Buffers that were taken from the ring together with the present one, and come behind it. */
  private left = 0;
  private failure: QueueError | undefined;

  constructor(parts: ReceiveParts, headerSize: number, reader: HeaderReader = NOTHING_TO_READ) {
    super(parts);
    this.headerSize = headerSize;
    this.buffersAt = (HEADROOM - headerSize + HEADER.BUFFERS) >> 1;
    this.spans = new Uint16Array(this.tokens.length);
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
    const { ring, tokens, lengths, spans } = this;
    let count = from;
    for (let more = true; more && count < max && this.failure === undefined;) {
      // A frame takes a buffer at least: no more frames than that can come of it.
      const wanted = Math.min(max - count, tokens.length);
      const taken = ring.takeBurst(tokens, lengths, wanted);
      this.readSpans(taken);
      for (let at = 0; at < taken; at += 1) {
        this.left = taken - at - 1;
        const frame = this.takeBuffer(tokens[at], lengths[at], spans[at]);
        if (frame === undefined) continue;
        batch[count] = frame;
        count += 1;
      }
      more = taken === wanted;
    }
    return count;
  }

  /**
   * Reads how many buffers each of the frames has that begin in what was taken; of a buffer in which none begins, nothing
   * that means anything. All of them at once, so that the processor waits for the memory of all together.
   */
  private readSpans(taken: number): void {
    const { tokens, spans, buffersAt } = this;
    const { halves, stride } = this.pool;
    const step = stride >> 1;
    void (tokens[0] | spans[0] | halves[0]);
    for (let at = 0; at < taken; at = (at + 1) | 0) {
      spans[at] = halves[(Math.imul(tokens[at], step) + buffersAt) | 0];
    }
  }

  /** Takes a buffer; gives the frame that is complete with it, if one is. */
  private takeBuffer(token: number, used: number, span: number): PacketBuffer | undefined {
    if (this.failure !== undefined) {
      this.pool.putToken(token);
      return undefined;
    }
    const packet = this.pool.packets[token];
    if (this.missing > 0) return this.finish(this.goOn(packet, used));
    // Less than a header says nothing of further buffers: such a frame is dropped as too short.
    if (span === 1 || used < this.headerSize) {
      return this.finish(packet.handOut(Math.max(0, used - this.headerSize)));
    }
    this.begin(packet, used, span);
    return undefined;
  }

  /** Counts a frame that is complete, or drops it. */
  private finish(frame: PacketBuffer | undefined): PacketBuffer | undefined {
    if (frame === undefined) return undefined;
    const length = frame.following === undefined ? frame.length : frame.totalLength;
    if (!this.isAcceptable(frame, length)) {
      this.pool.put(frame);
      return undefined;
    }
    this.count(1, length);
    return frame;
  }

  /** Takes the first buffer of a frame that has more. */
  private begin(packet: PacketBuffer, used: number, span: number): void {
    packet.handOut(used - this.headerSize);
    // No device can use what it does not have; and it uses all buffers of a frame together.
    if (span === 0 || span - 1 > this.ring.outstanding + this.left) {
      this.breakDown(span);
      this.pool.put(packet);
      return;
    }
    this.head = packet;
    this.tail = packet;
    this.missing = span - 1;
  }

  /** Takes a further buffer of a frame; gives the frame if it is complete with it. */
  private goOn(packet: PacketBuffer, used: number): PacketBuffer | undefined {
    const { head } = this;
    packet.handOut(used).start = HEADROOM - this.headerSize;
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
    const { index } = this.ring;
    const had = this.ring.outstanding + this.left + 1;
    this.failure = new QueueError(
      'QUEUE_BROKEN',
      `The device broke the protocol on queue ${index}: it spread a frame over ${buffers} buffers, and had ${had}`,
    );
  }
}
