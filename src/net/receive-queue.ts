/**
 * The receive queue: posts buffers to the device, and takes the frames that it put into them (VIRTIO 1.3, 5.1.6.3, 5.1.6.4).
 */
import { OWNER, HEADROOM, type PacketBuffer } from '../memory/packet-buffer.js';
import type { PacketPool } from '../memory/packet-pool.js';
import type { Transport } from '../transport/transport.js';
import { NOTHING_USED, type Virtqueue } from '../virtqueue/virtqueue.js';
import { ETHERNET_HEADER_SIZE, NET_HEADER_SIZE } from './header.js';
import { Notifier } from './notification.js';
import { QueueCounters, ReceiveDrops } from './statistics.js';

/** The shortest thing that is a frame, as the device counts: with its virtio-net header. */
const SHORTEST = NET_HEADER_SIZE + ETHERNET_HEADER_SIZE;

export class ReceiveQueue {
  readonly ring: Virtqueue;
  readonly counters = new QueueCounters();
  readonly notifier: Notifier;
  readonly drops = new ReceiveDrops();
  refillShortfalls = 0;
  /** While the device is reset, or this queue of it: nothing is taken from the ring or put into it. */
  paused = false;
  /** Called when the pool is empty, to bring buffers back to it that are done with; says how many those were. */
  reclaim: () => number = () => 0;
  /** Frames that were taken from the ring, but not received by anybody yet: the next ones to be received. */
  private readonly fetched: PacketBuffer[] = [];
  private readonly fetching: PacketBuffer[] = [];
  private readonly pool: PacketPool;

  constructor(ring: Virtqueue, pool: PacketPool, transport: Transport) {
    this.ring = ring;
    this.pool = pool;
    this.notifier = new Notifier(ring, transport);
  }

  /**
   * Takes up to `max` received frames and posts fresh buffers in their place.
   *
   * @param batch - its first entries become the packets, which are then the caller's
   * @returns how many; 0 too where the queue is broken, see {@link broken}, or {@link paused}
   */
  receive(batch: PacketBuffer[], max: number): number {
    if (this.paused) return 0;
    const { ring } = this;
    let count = this.fetched.length === 0 ? 0 : this.takeFetched(batch, max);
    while (count < max) {
      const token = ring.take();
      if (token === NOTHING_USED) break;
      const packet = this.pool.packets[token];
      const length = ring.usedLength;
      if (length < SHORTEST) {
        this.drops.short += 1;
        this.pool.put(packet);
        continue;
      }
      packet.owner = OWNER.USER;
      packet.length = length - NET_HEADER_SIZE;
      this.counters.frames += 1;
      this.counters.bytes += packet.length;
      batch[count] = packet;
      count += 1;
    }
    this.refill();
    return count;
  }

  /** Takes up to `max` frames from the ring, for `next()` to give one by one, or `receive()` together. */
  fetch(max: number): void {
    const count = this.receive(this.fetching, max);
    if (count > 0) this.fetched.unshift(...this.fetching.slice(0, count));
  }

  /** The next one of the frames that were fetched. */
  next(): PacketBuffer | undefined {
    return this.fetched.shift();
  }

  /** Why the queue is out of use, once it is. */
  get broken(): Error | undefined {
    return this.ring.broken ?? this.notifier.failure;
  }

  /** Posts free buffers to the device until the ring is full or the pool is empty. */
  refill(): void {
    if (this.ring.freeDescriptors === 0 || this.paused || this.broken !== undefined) return;
    if (this.post() === 0) return;
    this.ring.publish();
    this.notifier.notifyIfNeeded();
  }

  /** Fills the ring without telling the device, which is not running yet (3.1.1: no notification before DRIVER_OK). */
  fill(): void {
    this.post();
    this.ring.publish();
  }

  /** Takes all buffers back from a device that was reset; says how many frames were in them that nobody took. */
  reset(): number {
    this.notifier.failure = undefined;
    const fetched = this.fetched.splice(0);
    for (const packet of fetched) this.pool.put(packet);
    let lost = fetched.length;
    for (let token = this.ring.take(); token !== NOTHING_USED; token = this.ring.take()) {
      this.pool.put(this.pool.packets[token]);
      lost += 1;
    }
    this.ring.reset((token) => {
      this.pool.put(this.pool.packets[token]);
    });
    return lost;
  }

  private takeFetched(batch: PacketBuffer[], max: number): number {
    const packets = this.fetched.splice(0, max);
    packets.forEach((packet, at) => (batch[at] = packet));
    return packets.length;
  }

  private post(): number {
    const { ring, pool } = this;
    let posted = 0;
    while (ring.freeDescriptors > 0) {
      const packet = pool.take() ?? (this.reclaim() > 0 ? pool.take() : undefined);
      if (packet === undefined) {
        this.refillShortfalls += 1;
        pool.wakeWhenAvailable();
        break;
      }
      const offset = HEADROOM - NET_HEADER_SIZE;
      packet.owner = OWNER.DEVICE;
      ring.addWritable(
        packet.index,
        packet.addressLo + offset,
        packet.addressHi,
        packet.bytes.length - offset,
      );
      posted += 1;
    }
    return posted;
  }
}
