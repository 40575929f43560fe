/**
 * The transmit queue: hands frames to the device, and takes the buffers back when it is done with them
 * (VIRTIO 1.3, 5.1.6.2).
 */
import { UsageError } from '../errors.js';
import { CHECKSUM, GSO, OWNER, type PacketBuffer } from '../memory/packet-buffer.js';
import type { PacketPool } from '../memory/packet-pool.js';
import type { QueueAccess } from '../transport/transport.js';
import { DescriptorChain } from '../virtqueue/descriptor-chain.js';
import { NOTHING_USED, type Virtqueue } from '../virtqueue/virtqueue.js';
import { appendReadable } from './buffer-chain.js';
import type { NegotiatedFeatures } from './features.js';
import { ETHERNET_HEADER_SIZE, headerSize, plainHeaderWriter, type HeaderWriter } from './header.js';
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
  private readonly writePlainHeader: HeaderWriter;
  private readonly chain: DescriptorChain;
  /** What a legacy device without VIRTIO_F_ANY_LAYOUT asks for: a descriptor for the header alone (5.1.6.6). */
  private readonly headerApart: boolean;

  constructor(ring: Virtqueue, pool: PacketPool, transport: QueueAccess, options: TransmitOptions) {
    const { features, legacy, mtu } = options;
    const longest = mtu + ETHERNET_HEADER_SIZE;
    const size = headerSize(features, legacy);
    this.ring = ring;
    this.pool = pool;
    this.notifier = new Notifier(ring, transport);
    this.headerSize = size;
    this.headerApart = needsHeaderApart(options);
    this.writePlainHeader = plainHeaderWriter(size);
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
    this.reclaim();
    if (this.paused || this.broken !== undefined) return 0;
    let taken = 0;
    while (taken < count) {
      const packet = batch[taken];
      if (!this.admits(packet)) {
        if (taken === 0) this.checkPacket(packet);
        break;
      }
      if (!this.add(packet)) {
        this.ringFull += 1;
        break;
      }
      taken += 1;
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
    if (this.paused) return 0;
    const { ring, pool } = this;
    let count = 0;
    for (let token = ring.take(); token !== NOTHING_USED; token = ring.take()) {
      pool.put(pool.packets[token]);
      count += 1;
    }
    this.completed += count;
    return count;
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
  checkPacket(packet: PacketBuffer | undefined): void {
    if (packet === undefined) throw noPacket();
    const refusal = this.checks.refusalOf(packet);
    if (refusal !== undefined) throw refusal;
  }

  /** Takes all buffers back from a device that was reset; says how many it had not finished. */
  reset(): number {
    this.takeFinished();
    const lost = this.unfinished;
    for (const packet of this.aside.splice(0)) this.pool.put(packet);
    this.ring.reset((token) => {
      this.pool.put(this.pool.packets[token]);
    });
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
    this.takeFinished();
    for (const token of this.ring.outstandingTokens()) this.aside.push(this.pool.packets[token]);
    this.ring.reset(() => undefined);
  }

  /** Puts what was set aside into the ring, in its order. The device is not notified. */
  putBack(): void {
    if (this.aside.length === 0) return;
    const { bytes } = this.counters;
    const left = this.aside.splice(0);
    while (left.length > 0 && this.add(left[0])) left.shift();
    this.aside.push(...left);
    this.counters.bytes = bytes;
    this.ring.publish();
  }

  /** Adds a packet of one buffer that asks nothing of the device. */
  protected addPlain(packet: PacketBuffer): boolean {
    const { start, length } = packet;
    const { ring, headerSize } = this;
    if (ring.freeDescriptors === 0) return false;
    this.writePlainHeader(packet.bytes, start);
    packet.owner = OWNER.DEVICE;
    this.counters.bytes += length;
    const lo = packet.addressLo + start - headerSize;
    return ring.addReadable(packet.index, lo, packet.addressHi, length + headerSize);
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
    for (let segment: PacketBuffer | undefined = head; segment !== undefined; segment = segment.following) {
      segment.owner = OWNER.DEVICE;
    }
    this.counters.bytes += total;
    return true;
  }

  /** A gap in the batch ends the burst as well: what is in the ring by then must be told of. */
  private admits(packet: PacketBuffer | undefined): boolean {
    if (packet === undefined) return false;
    return isPlain(packet) ? this.checks.admitsPlain(packet) : this.checks.refusalOf(packet) === undefined;
  }

  private takeFinished(): void {
    this.notifier.failure = undefined;
    for (let token = this.ring.take(); token !== NOTHING_USED; token = this.ring.take()) {
      this.pool.put(this.pool.packets[token]);
      this.completed += 1;
    }
  }

  private add(packet: PacketBuffer): boolean {
    return isPlain(packet) ? this.addPlain(packet) : this.addChain(packet);
  }

  private commit(taken: number): void {
    this.counters.frames += taken;
    this.ring.publish();
    this.notifier.notifyIfNeeded();
  }
}

/** Where a plain packet may take several descriptors too. */
class ChainingTransmitQueue extends TransmitQueue {
  protected override addPlain(packet: PacketBuffer): boolean {
    return this.addChain(packet);
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

function isPlain(packet: PacketBuffer): boolean {
  return packet.following === undefined && packet.checksum !== CHECKSUM.NEEDED && packet.gso === GSO.NONE;
}
