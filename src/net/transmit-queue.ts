/**
 * The transmit queue: hands frames to the device, and takes the buffers back when it is done with them
 * (VIRTIO 1.3, 5.1.6.2).
 */
import { UsageError } from '../errors.js';
import { CHECKSUM_NEEDED, NO_GSO, OWNED_BY_DRIVER, OWNED_BY_USER } from '../memory/packet-constants.js';
import type { PacketBuffer } from '../memory/packet-buffer.js';
import type { PacketPool } from '../memory/packet-pool.js';
import type { QueueAccess } from '../transport/transport.js';
import { DescriptorChain } from '../virtqueue/descriptor-chain.js';
import { BufferTable } from '../virtqueue/buffer-table.js';
import type { Virtqueue } from '../virtqueue/virtqueue.js';
import { appendReadable } from './buffer-chain.js';
import type { NegotiatedFeatures } from './features.js';
import { ETHERNET_HEADER_SIZE, NET_HEADER_SIZE } from './header-constants.js';
import { headerSize } from './header.js';
import { Notifier } from './notification.js';
import { QueueCounters } from './statistics.js';
import { TransmitChecks } from './transmit-checks.js';
import { TransmitOffloads } from './transmit-offloads.js';

export interface TransmitOptions {
  readonly features: Pick<NegotiatedFeatures, 'has'>;
  /** Whether the device is used by the legacy interface. */
  readonly legacy: boolean;
  /** In bytes; no frame beyond it is handed to the device (5.1.4.2), unless to be cut into several. */
  readonly mtu: number;
}

export class TransmitQueue {
  readonly ring: Virtqueue;
  readonly counters = new QueueCounters();
  readonly notifier: Notifier;
  completed = 0;
  ringFull = 0;
  private readonly pool: PacketPool;
  /** While the device is reset, or this queue of it: nothing is taken from the ring or put into it. */
  paused = false;
  /** What {@link setAside} has taken from the ring. */
  private readonly aside: PacketBuffer[] = [];
  private readonly checks: TransmitChecks;
  private readonly offloads: TransmitOffloads;
  private readonly headerSize: number;
  /** Where the frames that are sent next lie, and their headers; by the index of their buffers. */
  private readonly frames: BufferTable;
  /** Indexes of buffers that go into the ring together, or come from it. */
  private readonly tokens: Int32Array;
  private readonly lengths: Int32Array;
  /** Packets of several buffers that the device has, counted with each burst: usually none. */
  private chained = 0;
  /** Longest frame in bytes, without a VLAN tag. */
  private readonly longest: number;
  private readonly chain: DescriptorChain;
  /**
   * Finished buffers are taken back only where so few descriptors are left: the used ring comes over from the device's
   * processor, and does so once for all that it holds.
   */
  private readonly reclaimBelow: number;
  /** What a legacy device without VIRTIO_F_ANY_LAYOUT asks for: a descriptor for the header alone (5.1.6.6). */
  private readonly headerApart: boolean;

  constructor(ring: Virtqueue, pool: PacketPool, transport: QueueAccess, options: TransmitOptions) {
    const { features, legacy, mtu } = options;
    const longest = (mtu + ETHERNET_HEADER_SIZE) | 0;
    const size = headerSize(features, legacy);
    this.ring = ring;
    this.pool = pool;
    this.notifier = new Notifier(ring, transport);
    this.headerSize = size;
    this.headerApart = needsHeaderApart(options);
    this.frames = new BufferTable(pool.size);
    for (const { index, addressLo, addressHi } of pool.packets) {
      this.frames.set(index, addressLo, addressHi, 0);
    }
    this.longest = longest;
    this.reclaimBelow = ring.size >> 2;
    this.tokens = new Int32Array(ring.size);
    this.lengths = new Int32Array(Math.max(pool.size, ring.size));
    this.offloads = new TransmitOffloads(features, size, longest);
    const descriptors = ring.size - (this.headerApart ? 1 : 0);
    this.checks = new TransmitChecks({
      pool,
      offloads: this.offloads,
      headerSize: size,
      longest,
      descriptors,
    });
    this.chain = new DescriptorChain(ring.size);
  }

  /**
   * Hands the first `count` packets of the batch to the device, as far as the ring has room.
   *
   * @returns how many it took (0 too where the queue is broken, see {@link broken}, or {@link paused}); those belong to the driver now, the others stay with the caller
   * @throws UsageError FRAME_TOO_SHORT, FRAME_TOO_LONG, PACKET_NOT_OWNED, PACKET_CHAIN_INVALID, OFFLOAD_NOT_NEGOTIATED,
   *   OFFLOAD_INVALID, if the first packet can not be sent; a later one that can not be sent ends the burst before it
   */
  transmit(batch: readonly PacketBuffer[], count: number): number {
    if (this.ring.freeDescriptors < Math.max(count, this.reclaimBelow)) this.reclaim();
    if (this.paused || this.broken !== undefined) return 0;
    let taken = this.addPlain(batch, 0, count);
    while (taken < count && this.addOther(batch[taken], taken === 0)) {
      taken = this.addPlain(batch, taken + 1, count);
    }
    if (taken > 0) this.commit(taken);
    return taken;
  }

  /** Why the queue is out of use, once it is. */
  get broken(): Error | undefined {
    return this.ring.broken ?? this.notifier.failure;
  }

  /** Takes finished buffers back to the pool; says how many frames those were. */
  reclaim(): number {
    return this.paused ? 0 : this.takeFinished();
  }

  /**
   * Checks whether a frame could be sent.
   *
   * @throws UsageError FRAME_TOO_SHORT, FRAME_TOO_LONG, OPTION_INVALID if it is no Uint8Array
   */
  checkFrame(frame: Uint8Array): void {
    const refusal = this.checks.refusalOfFrame(frame);
    if (refusal !== undefined) throw refusal;
  }

  /**
   * Checks whether a packet could be sent.
   *
   * @throws UsageError as {@link transmit}
   */
  checkPacket(packet: PacketBuffer | null | undefined): void {
    if (packet === undefined || packet === null) throw noPacket();
    const refusal = this.checks.refusalOf(packet);
    if (refusal !== undefined) throw refusal;
  }

  /** Takes all buffers back from a device that was reset; says how many it had not finished. */
  reset(): number {
    this.notifier.failure = undefined;
    this.takeFinished();
    const lost = this.unfinished;
    for (const packet of this.aside.splice(0)) this.pool.put(packet);
    this.ring.reset((token) => {
      this.pool.put(this.pool.packets[token]);
    });
    this.chained = 0;
    return lost;
  }

  /** Frames that the device was given, or is to be given again, and has not finished. */
  get unfinished(): number {
    return this.ring.outstanding + this.aside.length;
  }

  /**
   * Takes all buffers back from a device that was reset, which is to go on as if it had not been: {@link putBack} gives it
   * again what it had not finished.
   */
  setAside(): void {
    this.notifier.failure = undefined;
    this.takeFinished();
    for (const token of this.ring.outstandingTokens()) this.aside.push(this.pool.packets[token]);
    this.ring.reset(() => undefined);
    this.chained = 0;
  }

  /** Puts what was set aside into the ring, in its order. The device is not notified. */
  putBack(): void {
    if (this.aside.length === 0) return;
    const { bytes } = this.counters;
    const left = this.aside.splice(0);
    while (left.length > 0 && this.addChain(left[0])) left.shift();
    this.aside.push(...left);
    this.counters.bytes = bytes;
    this.ring.publish();
  }

  /**
   * Adds the packets from `from` on that are of one buffer and ask nothing of the device, up to the first one that is
   * not, or may not be sent, or finds no room.
   *
   * @returns where in the batch it stopped
   */
  protected addPlain(batch: readonly (PacketBuffer | undefined | null)[], from: number, to: number): number {
    const { ring, pool, tokens, headerSize, longest } = this;
    const { stride, words, lo: whole } = pool;
    const { halves, lengths } = this.frames;
    const most = Math.min(to, from + ring.freeDescriptors) | 0;
    void (words[0] | whole[0] | halves[0] | lengths[0] | tokens[0]);
    let at = from | 0;
    let bytes = 0;
    try {
      for (; at < most; at = (at + 1) | 0) {
        const packet = batch[at];
        if (packet?.pool !== pool) break;
        if (packet.owner !== OWNED_BY_USER || packet.following !== undefined) break;
        if (packet.checksum === CHECKSUM_NEEDED || packet.gso !== NO_GSO) break;
        const { start, length, index, offset } = packet;
        // Whole numbers, and no VLAN tag: the rest is sorted out below.
        if ((start | 0) !== start || (length | 0) !== length || start < headerSize) break;
        if (length < ETHERNET_HEADER_SIZE || length > longest || start > ((stride - length) | 0)) break;
        // A header that is not on a word boundary is written by the slower way.
        if ((start & 3) !== 0) break;
        const word = ((offset + start) | 0) >>> 2;
        // All zero (5.1.6.2.1: num_buffers too), which it mostly is: what is not written stays in the device's cache too.
        if ((words[word - 3] | words[word - 2] | words[word - 1]) !== 0) {
          words[word - 3] = 0;
          words[word - 2] = 0;
          words[word - 1] = 0;
        }
        if (headerSize > NET_HEADER_SIZE && (words[word - 5] | words[word - 4]) !== 0) {
          words[word - 5] = 0;
          words[word - 4] = 0;
        }
        packet.owner = OWNED_BY_DRIVER;
        packet.lease = (packet.lease + 1) | 0;
        tokens[(at - from) | 0] = index;
        halves[index << 1] = (whole[index] + start - headerSize) | 0;
        lengths[index] = (length + headerSize) | 0;
        bytes = (bytes + length) | 0;
      }
    } catch {
      // A field is nothing to compute with, a BigInt for example. What was admitted by then must get into the ring.
    }
    if (at === from) return from;
    this.counters.bytes += bytes;
    ring.addReadableBurst(tokens, at - from, this.frames);
    return at;
  }

  /**
   * Adds the packet at which {@link addPlain} stopped.
   *
   * @returns whether it was added
   * @throws UsageError if it may not be sent, and is the first of its burst
   */
  private addOther(packet: PacketBuffer | null | undefined, isFirst: boolean): boolean {
    if (isFirst) this.checkPacket(packet);
    // A gap in the batch ends the burst as well: what is in the ring by then must be told of.
    if (packet === undefined || packet === null || this.checks.refusalOf(packet) !== undefined) return false;
    if (this.ring.freeDescriptors > 0 && (this.addChain(packet) || this.addAfterReclaim(packet))) return true;
    this.ringFull += 1;
    return false;
  }

  /** For a packet that takes more descriptors than are left: those of finished ones may not have been taken back yet. */
  private addAfterReclaim(packet: PacketBuffer): boolean {
    return this.reclaim() > 0 && this.ring.broken === undefined && this.addChain(packet);
  }

  /** Adds any packet, as a chain of descriptors. */
  protected addChain(head: PacketBuffer): boolean {
    const { headerSize } = this;
    const total = head.totalLength;
    const chain = this.chain.clear();
    const apart = this.headerApart ? headerSize : 0;
    appendReadable(chain, head, head.start - headerSize, apart);
    appendReadable(chain, head, head.start - headerSize + apart, head.length + headerSize - apart);
    for (let segment = head.following; segment !== undefined; segment = segment.following) {
      appendReadable(chain, segment, segment.start, segment.length);
    }
    this.offloads.write(head, total);
    if (!this.ring.addChain(head.index, chain)) return false;
    if (head.following !== undefined) this.chained += 1;
    for (let segment: PacketBuffer | undefined = head; segment !== undefined; segment = segment.following) {
      segment.takeBack();
    }
    this.counters.bytes += total;
    return true;
  }

  private takeFinished(): number {
    const { ring, pool } = this;
    let count = 0;
    for (let taken = ring.size; taken === ring.size; count += taken) {
      if (this.chained > 0) taken = this.takeChained();
      else {
        taken = ring.takeBurst(pool.stack, this.lengths, ring.size, pool.available);
        pool.returned(taken);
      }
    }
    this.completed += count;
    return count;
  }

  /** Takes buffers back that may have others linked behind them. */
  private takeChained(): number {
    const { ring, pool, tokens } = this;
    const taken = ring.takeBurst(tokens, this.lengths, tokens.length);
    for (const token of tokens.slice(0, taken)) {
      const packet = pool.packets[token];
      if (packet.following !== undefined) this.chained -= 1;
      pool.put(packet);
    }
    return taken;
  }

  private commit(taken: number): void {
    this.counters.frames += taken;
    this.ring.publish();
    this.notifier.notifyIfNeeded();
  }
}

/** Where a plain packet may take several descriptors too. */
class ChainingTransmitQueue extends TransmitQueue {
  protected override addPlain(_batch: readonly PacketBuffer[], from: number): number {
    return from;
  }
}

/** The transmit queue for what was negotiated, and for how the buffers lie in memory. */
export function createTransmitQueue(
  ring: Virtqueue,
  pool: PacketPool,
  transport: QueueAccess,
  options: TransmitOptions,
): TransmitQueue {
  const inOnePiece = pool.descriptorsPerBuffer === 1 && !needsHeaderApart(options);
  const kind = inOnePiece ? TransmitQueue : ChainingTransmitQueue;
  return new kind(ring, pool, transport, options);
}

function noPacket(): UsageError {
  return new UsageError('OPTION_INVALID', 'The batch has a gap where a packet should be', {
    remedy: 'Give the number of packets that are in it as count.',
  });
}

function needsHeaderApart({ features, legacy }: TransmitOptions): boolean {
  return legacy && !features.has('VIRTIO_F_ANY_LAYOUT');
}
