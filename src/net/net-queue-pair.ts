import { UsageError } from '../errors.js';
import { PacketBuffer } from '../memory/packet-buffer.js';
import { requireList } from './arguments.js';
import type { PairDatapath } from './pair-datapath.js';
import { poolExhausted } from './sender.js';
import { pairSnapshot } from './snapshot.js';
import type { QueuePairStatistics } from './statistics.js';

/** Frames that `receive()` takes if not told otherwise. */
const BURST = 32;

/** Says whether a pair may be used now. */
export interface PairGate {
  /** The pair can be used if it is `running`. */
  readonly state: string;
  /**
   * What a burst does on a pair that is not running.
   *
   * @throws why, if that is not only for a moment
   */
  idle(): 0;
  /** @throws UsageError DEVICE_CLOSED, and others */
  checkOpen(): void;
  /** @throws what the device failed of, if a queue is broken */
  throwIfBroken(): void;
}

/**
 * A receive queue, a transmit queue and the packet buffers of both: the burst calls of a device, for one of its queue
 * pairs. A packet belongs to the pair that it came from, and can be transmitted there only.
 */
export class NetQueuePair {
  /** Number of the pair, from 0 on; its queues at the device are twice that, and the one behind it. */
  readonly number: number;
  private readonly datapath: PairDatapath;
  private gate: PairGate;

  /** @internal */
  constructor(datapath: PairDatapath, gate: PairGate) {
    this.number = datapath.queues.number;
    this.datapath = datapath;
    this.gate = gate;
  }

  /** As `receive()` of the device, for this pair alone. */
  receive(batch: PacketBuffer[], max: number = BURST): number {
    if (this.gate.state !== 'running') return this.gate.idle();
    requireList('The batch', batch);
    checkCount('max', max);
    checkBatch(batch);
    const count = this.datapath.queues.receive.receive(batch, max);
    if (count === 0) this.gate.throwIfBroken();
    return count;
  }

  /** As `transmit()` of the device, for packets of this pair. */
  transmit(batch: readonly PacketBuffer[], count: number = batch.length): number {
    if (this.gate.state !== 'running') return this.gate.idle();
    checkBurst(batch, count);
    this.datapath.checkUsed();
    const taken = this.datapath.queues.transmit.transmit(batch, count);
    if (taken === 0) this.gate.throwIfBroken();
    return taken;
  }

  /** As `allocate()` of the device, from the buffers of this pair. */
  allocate(): PacketBuffer {
    this.gate.checkOpen();
    const packet = this.take();
    if (packet === undefined) throw poolExhausted(this.datapath.queues.pool);
    return packet;
  }

  /** As `allocateBatch()` of the device, from the buffers of this pair. */
  allocateBatch(batch: PacketBuffer[], count: number): number {
    this.gate.checkOpen();
    requireList('The batch', batch);
    checkCount('count', count);
    checkBatch(batch);
    const { pool, transmit } = this.datapath.queues;
    const taken = pool.takeBatch(batch, 0, count);
    if (taken === count || this.gate.state !== 'running' || transmit.reclaim() === 0) return taken;
    return taken + pool.takeBatch(batch, taken, count - taken);
  }

  /** As `releaseBatch()` of the device. Packets of other pairs go back to those. */
  releaseBatch(batch: readonly PacketBuffer[], count: number = batch.length): void {
    checkBurst(batch, count);
    const { pool } = this.datapath.queues;
    let released = pool.putBatch(batch, 0, count);
    while (released < count) {
      releaseOther(batch[released]);
      released = pool.putBatch(batch, released + 1, count);
    }
  }

  /** The counters of this pair, since `open()`. */
  statistics(): QueuePairStatistics {
    return pairSnapshot(this.datapath);
  }

  /** Who says from now on whether the pair may be used. @internal */
  guardBy(gate: PairGate): void {
    this.gate = gate;
  }

  /** Whether the packet belongs to this pair. @internal */
  owns(packet: PacketBuffer | null | undefined): boolean {
    return packet?.pool === this.datapath.queues.pool;
  }

  /** @internal */
  send(frame: Uint8Array | PacketBuffer, signal: AbortSignal | undefined): Promise<void> {
    this.datapath.checkUsed();
    return this.datapath.sender.send(frame, signal);
  }

  /** @internal */
  flush(signal: AbortSignal | undefined): Promise<void> {
    return this.datapath.sender.flush(signal);
  }

  private take(): PacketBuffer | undefined {
    const { pool, transmit } = this.datapath.queues;
    const packet = pool.take();
    if (packet !== undefined || this.gate.state !== 'running') return packet;
    return transmit.reclaim() > 0 ? pool.take() : undefined;
  }
}

/**
 * Checks a burst to transmit, or to give back.
 *
 * @throws UsageError OPTION_INVALID
 */
export function checkBurst(batch: readonly PacketBuffer[], count: number): void {
  checkCount('count', count);
  checkBatch(batch);
  if (count <= batch.length) return;
  throw new UsageError('OPTION_INVALID', `The batch holds ${batch.length} packets, not ${count}`, {
    remedy: 'Give the number of packets that are in it as count.',
  });
}

/** Frames that were taken from the ring for what is no array would be lost. */
function checkBatch(batch: unknown): void {
  if (!Array.isArray(batch)) requireList('The batch', batch);
}

/** Releases what is no plain packet of the pair's own: with segments, retained elsewhere, or of another pair. */
function releaseOther(packet: PacketBuffer | undefined): void {
  if (packet instanceof PacketBuffer) {
    packet.release();
    return;
  }
  throw new UsageError('OPTION_INVALID', 'The batch has a gap where a packet should be', {
    remedy: 'Give the number of packets that are in it as count.',
  });
}

function checkCount(name: string, count: number): void {
  if (count >= 0 && Math.floor(count) === count) return;
  throw new UsageError('OPTION_INVALID', `${name} is ${String(count)}`, {
    remedy: 'Give a whole number, 0 or more.',
  });
}
