/** Receive queues in which each frame lies in one buffer: without VIRTIO_NET_F_MRG_RXBUF. */
import type { PacketBuffer } from '../memory/packet-buffer.js';
import { ETHERNET_HEADER_SIZE } from './header-constants.js';
import type { HeaderReader } from './receive-header.js';
import { ReceiveQueue, type ReceiveParts } from './receive-queue.js';

/** Nothing in the header means anything, so it is not looked at: the memory of the frame is not touched at all. */
export class PlainReceiveQueue extends ReceiveQueue {
  private readonly headerSize: number;

  constructor(parts: ReceiveParts, headerSize: number) {
    super(parts);
    this.headerSize = headerSize;
  }

  protected collect(batch: PacketBuffer[], from: number, max: number): number {
    const { ring, tokens, lengths, headerSize } = this;
    const { packets } = this.pool;
    let count = from;
    let bytes = 0;
    for (let more = true; more && count < max;) {
      const wanted = Math.min(max - count, tokens.length);
      const taken = ring.takeBurst(tokens, lengths, wanted);
      for (let at = 0; at < taken; at += 1) {
        const length = lengths[at] - headerSize;
        if (length < ETHERNET_HEADER_SIZE) {
          this.dropShort(tokens[at]);
          continue;
        }
        batch[count] = packets[tokens[at]].handOut(length);
        bytes += length;
        count += 1;
      }
      more = taken === wanted;
    }
    this.count(count - from, bytes);
    return count;
  }
}

/** The header says what the device did with the frame. */
export class OffloadReceiveQueue extends ReceiveQueue {
  private readonly headerSize: number;
  private readonly reader: HeaderReader;

  constructor(parts: ReceiveParts, headerSize: number, reader: HeaderReader) {
    super(parts);
    this.headerSize = headerSize;
    this.reader = reader;
  }

  protected collect(batch: PacketBuffer[], from: number, max: number): number {
    const { ring, tokens, lengths, reader } = this;
    const { packets } = this.pool;
    let count = from;
    let bytes = 0;
    for (let more = true; more && count < max;) {
      const wanted = Math.min(max - count, tokens.length);
      const taken = ring.takeBurst(tokens, lengths, wanted);
      for (let at = 0; at < taken; at += 1) {
        const length = lengths[at] - this.headerSize;
        if (length < ETHERNET_HEADER_SIZE) {
          this.dropShort(tokens[at]);
          continue;
        }
        const packet = packets[tokens[at]].handOut(length);
        if (!reader.read(packet)) {
          this.dropUnreadable(packet);
          continue;
        }
        batch[count] = packet;
        bytes += length;
        count += 1;
      }
      more = taken === wanted;
    }
    this.count(count - from, bytes);
    return count;
  }
}
