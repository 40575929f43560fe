import { PacketBuffer } from '../memory/packet-buffer.js';
import { checkBurst, type NetQueuePair } from './net-queue-pair.js';

/** The burst calls of a device, over all of its queue pairs. Where there is one, they are those of that pair. */
export class AllPairs {
  private pairs: readonly NetQueuePair[];
  private first: NetQueuePair;
  /** Packets of a burst that go out by the same pair. */
  private readonly run: PacketBuffer[] = [];
  /** The pair to look at first next time, so that a busy one keeps no other from being served. */
  private next = 0;

  constructor(pairs: readonly NetQueuePair[]) {
    this.pairs = pairs;
    this.first = pairs[0];
  }

  /** Serves these pairs only from now on; where there are none, all calls fail as those of `first` do. */
  serve(pairs: readonly NetQueuePair[], first: NetQueuePair): void {
    this.pairs = pairs.length === 0 ? [first] : pairs;
    [this.first] = this.pairs;
    this.next = 0;
  }

  /** Takes frames of the first pair that has any, beginning behind the one that had some last time. */
  receive(batch: PacketBuffer[], max?: number): number {
    const { pairs } = this;
    if (pairs.length === 1) return this.first.receive(batch, max);
    const start = this.next;
    do {
      const pair = pairs[this.next];
      this.next = (this.next + 1) % pairs.length;
      const count = pair.receive(batch, max);
      if (count > 0) return count;
    } while (this.next !== start);
    return 0;
  }

  /** Sends each packet by the pair that it belongs to. */
  transmit(batch: readonly PacketBuffer[], count: number): number {
    if (this.pairs.length === 1) return this.first.transmit(batch, count);
    checkBurst(batch, count);
    if (count === 0) return this.first.transmit(batch, 0);
    let taken = 0;
    while (taken < count) {
      const pair = this.pairOf(batch[taken]);
      const length = this.collect(pair, batch, taken, count);
      const sent = this.transmitRun(pair, length, taken === 0);
      taken += sent;
      if (sent < length) break;
    }
    return taken;
  }

  /** Sends the frame, by the pair that the packet belongs to, or the first one for bytes. */
  send(frame: Uint8Array | PacketBuffer, signal: AbortSignal | undefined): Promise<void> {
    return (frame instanceof PacketBuffer ? this.pairOf(frame) : this.first).send(frame, signal);
  }

  async flush(signal: AbortSignal | undefined): Promise<void> {
    if (this.pairs.length === 1) return this.first.flush(signal);
    await Promise.all(this.pairs.map((pair) => pair.flush(signal)));
  }

  /** The pair of a packet; the first one, which will refuse it, for that of another device. */
  private pairOf(packet: PacketBuffer): NetQueuePair {
    const { pairs } = this;
    if (pairs.length === 1) return this.first;
    for (const pair of pairs) if (pair.owns(packet)) return pair;
    return this.first;
  }

  /** Collects the packets from `from` on that belong to the pair, the first one at any rate; says how many. */
  private collect(pair: NetQueuePair, batch: readonly PacketBuffer[], from: number, count: number): number {
    const { run } = this;
    run[0] = batch[from];
    let length = 1;
    while (from + length < count && pair.owns(batch[from + length])) {
      run[length] = batch[from + length];
      length += 1;
    }
    return length;
  }

  /** A packet that can not be sent is an error only where it is the very first one. */
  private transmitRun(pair: NetQueuePair, length: number, isFirst: boolean): number {
    try {
      return pair.transmit(this.run, length);
    } catch (error) {
      if (isFirst) throw error;
      return 0;
    }
  }
}
