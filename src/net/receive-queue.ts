/**
 * The receive queue: posts buffers to the device, and takes the frames that it put into them (VIRTIO 1.3, 5.1.6.3, 5.1.6.4).
 *
 * How frames are put together from buffers differs by what was negotiated: see `receive-single` and `receive-merging`.
 */
import type { QueueError } from '../errors.js';
import type { PacketBuffer } from '../memory/packet-buffer.js';
import type { PacketPool } from '../memory/packet-pool.js';
import type { QueueAccess } from '../transport/transport.js';
import type { Virtqueue } from '../virtqueue/virtqueue.js';
import { Notifier } from './notification.js';
import type { ReceivePoster } from './receive-poster.js';
import { QueueCounters, ReceiveDrops } from './statistics.js';

/** What a receive queue works with. */
export interface ReceiveParts {
  readonly ring: Virtqueue;
  readonly pool: PacketPool;
  readonly transport: QueueAccess;
  readonly poster: ReceivePoster;
  /** The most descriptors that the buffers of one frame take. */
  readonly descriptorsPerFrame: number;
}

/** So many descriptors are refilled together, in rings that are not too small for it: see {@link ReceiveQueue.refillAt}. */
const REFILL_BURST = 32;

export abstract class ReceiveQueue {
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
  /**
   * Whether buffers are being taken from the ring. It is refilled only afterwards: a device that returns fresh buffers as
   * fast as they come back, with nothing in them that is a frame, would keep the driver here for ever.
   */
  private collecting = false;
  protected readonly pool: PacketPool;
  /** What is taken from the ring at once: tokens, and lengths with the header. */
  protected readonly tokens: Int32Array;
  protected readonly lengths: Int32Array;
  private readonly poster: ReceivePoster;
  /**
   * A refill has its price beyond that of the buffers, paid by both sides: a barrier, and the line of memory with the
   * index going over. So it waits until it is worth it.
   */
  private readonly refillAt: number;
  /**
   * Beyond that many free descriptors it does not wait: the device must not run dry while the program works at a large
   * burst, and must have room for the longest frame, or that one would never come.
   */
  private readonly mostFree: number;

  protected constructor({ ring, pool, transport, poster, descriptorsPerFrame }: ReceiveParts) {
    this.ring = ring;
    this.pool = pool;
    this.poster = poster;
    this.notifier = new Notifier(ring, transport);
    this.tokens = new Int32Array(ring.size);
    this.lengths = new Int32Array(ring.size);
    this.refillAt = Math.max(1, Math.min(REFILL_BURST, ring.size >> 2));
    this.mostFree = Math.max(0, Math.min(ring.size >> 1, ring.size - descriptorsPerFrame));
  }

  /**
   * Takes up to `max` received frames, and posts fresh buffers in place of those that were taken before. It does so in
   * this order, as then the buffers that the program has released meanwhile go back to the descriptors that they came
   * from, which need not be written anew.
   *
   * @param batch - its first entries become the packets, which are then the caller's
   * @returns how many; 0 too where the queue is broken, see {@link broken}, or {@link paused}
   */
  receive(batch: PacketBuffer[], max: number): number {
    if (this.paused) return 0;
    const { ring } = this;
    if (ring.freeDescriptors >= this.refillAt) this.refill();
    const had = this.fetched.length === 0 ? 0 : this.takeFetched(batch, max);
    this.collecting = true;
    const count = this.collect(batch, had, max);
    this.collecting = false;
    if (ring.freeDescriptors > this.mostFree) this.refill();
    return count;
  }

  /** Takes up to `max` frames from the ring, for `next()` to give one by one, or `receive()` together. */
  fetch(max: number): void {
    const count = this.receive(this.fetching, max);
    // Nobody may call again before the next interrupt.
    this.refill();
    if (count > 0) this.fetched.unshift(...this.fetching.slice(0, count));
  }

  /** The next one of the frames that were fetched. */
  next(): PacketBuffer | undefined {
    return this.fetched.shift();
  }

  /** Why the queue is out of use, once it is. */
  get broken(): Error | undefined {
    return this.ring.broken ?? this.violation ?? this.notifier.failure;
  }

  /** Posts free buffers to the device until the ring is full or the pool is empty. */
  refill(): void {
    if (this.ring.freeDescriptors === 0 || this.paused || this.collecting) return;
    if (this.broken !== undefined) return;
    if (this.post() === 0) return;
    this.ring.publish();
    this.notifier.notifyIfNeeded();
  }

  /** Fills the ring without telling the device, which is not running yet (3.1.1: no notification before DRIVER_OK). */
  fill(): void {
    this.post();
    this.ring.publish();
  }

  /**
   * Takes all buffers back from a device that was reset, which is to go on as if it had not been: the frames that it had
   * finished are kept, to be the next ones received.
   */
  setAside(): void {
    this.notifier.failure = undefined;
    const finished: PacketBuffer[] = [];
    const count = this.collect(finished, 0, Infinity);
    this.fetched.push(...finished.slice(0, count));
    this.dropUnfinished();
    this.ring.reset((token) => this.pool.putToken(token));
  }

  /** Takes all buffers back from a device that was reset; says how many frames were in them that nobody took. */
  reset(): number {
    this.notifier.failure = undefined;
    const fetched = this.fetched.splice(0);
    for (const packet of fetched) this.pool.put(packet);
    const lost = fetched.length + this.dropFinished();
    this.dropUnfinished();
    this.ring.reset((token) => this.pool.putToken(token));
    return lost;
  }

  /**
   * Takes finished frames from the ring into `batch[from]` and on, until there are `max` in it; says how many there are
   * in it then.
   */
  protected abstract collect(batch: PacketBuffer[], from: number, max: number): number;

  /** Counts frames that were received. */
  protected count(frames: number, bytes: number): void {
    this.counters.frames += frames;
    this.counters.bytes += bytes;
  }

  /** Drops what is too short to be a frame. */
  protected dropShort(token: number): void {
    this.drops.short += 1;
    this.pool.putToken(token);
  }

  /** Drops a frame whose header contradicts it, or what was negotiated. */
  protected dropUnreadable(packet: PacketBuffer): void {
    this.drops.offload += 1;
    this.pool.put(packet);
  }

  /** How the device broke the rules for received frames, if it did. */
  protected get violation(): QueueError | undefined {
    return undefined;
  }

  /** Gives back what was begun and is not complete. */
  protected dropUnfinished(): void {
    // Most queues have nothing of that kind.
  }

  /** Gives back the frames that are finished in the ring; says how many those were. They do not count as received. */
  dropFinished(): number {
    const { frames, bytes } = this.counters;
    const dropped: PacketBuffer[] = [];
    const count = this.collect(dropped, 0, Infinity);
    for (const packet of dropped) this.pool.put(packet);
    this.counters.frames = frames;
    this.counters.bytes = bytes;
    return count;
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
      const count = Math.min(pool.available, ring.freeDescriptors);
      if (count === 0) {
        if (this.reclaim() > 0 && pool.available > 0) continue;
        this.refillShortfalls += 1;
        pool.wakeWhenAvailable();
        break;
      }
      const from = pool.available - count;
      const added = this.poster.post(ring, pool.stack, count, from);
      pool.taken(from, added);
      posted += added;
      if (added < count) break;
    }
    return posted;
  }
}
