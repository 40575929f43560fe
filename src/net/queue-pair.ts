/**
 * A receive and a transmit queue with the packet pool that they share. Pairs share nothing with each other.
 */
import { UsageError } from '../errors.js';
import { PacketPool } from '../memory/packet-pool.js';
import type { QueueAccess, Transport } from '../transport/transport.js';
import type { NegotiatedFeatures } from './features.js';
import { freeAll } from './free-all.js';
import { createReceiveQueue, piecesOfBuffer } from './create-receive-queue.js';
import { chooseFrameCapacity } from './frame-capacity.js';
import type { Direction, LostFrames } from './recovery-report.js';
import type { ReceiveQueue } from './receive-queue.js';
import { chooseQueueSize, createRing } from './ring-format.js';
import { createTransmitQueue, type TransmitQueue } from './transmit-queue.js';

/** Each pair has two queues: numbers 2n for reception and 2n + 1 for transmission (VIRTIO 1.3, 5.1.2). */
export const QUEUES_PER_PAIR = 2;
const RECEIVE = 0;
const TRANSMIT = 1;

/**
 * The most descriptors that fit one indirect table: enough for 64 KiB in buffers of 2 KiB. Longer chains are put into the
 * ring itself.
 */
const LONGEST_TRANSMIT_CHAIN = 64;

export interface QueuePairOptions {
  readonly features: NegotiatedFeatures;
  readonly mtu: number;
  /** Wanted number of descriptors, or undefined for the default. */
  readonly queueSize: number | undefined;
  /** Wanted number of buffers, or undefined for the default. */
  readonly poolSize: number | undefined;
  /** Wanted length of the buffers in bytes, or undefined for the default. */
  readonly bufferSize: number | undefined;
}

export class QueuePair {
  /** Number of the pair, from 0 on. */
  readonly number: number;
  readonly receive: ReceiveQueue;
  readonly transmit: TransmitQueue;
  readonly pool: PacketPool;

  private constructor(number: number, receive: ReceiveQueue, transmit: TransmitQueue, pool: PacketPool) {
    this.number = number;
    this.receive = receive;
    this.transmit = transmit;
    this.pool = pool;
  }

  /**
   * Allocates rings and buffers. The device must be past FEATURES_OK.
   *
   * @throws DeviceError DEVICE_QUEUE_UNAVAILABLE, UsageError OPTION_INVALID, MemoryError, VfioError
   */
  static create(transport: QueueAccess, number: number, options: QueuePairOptions): QueuePair {
    const { mtu, features } = options;
    const first = number * QUEUES_PER_PAIR;
    const sizes = [RECEIVE, TRANSMIT].map((queue) =>
      chooseQueueSize(transport, features, first + queue, options.queueSize),
    );
    const poolSize = choosePoolSize(sizes, options.poolSize);
    const frameCapacity = chooseFrameCapacity(features, mtu, options.bufferSize);
    const undo: (() => void)[] = [];
    try {
      const pool = new PacketPool(transport.memory, poolSize, frameCapacity);
      undo.push(() => pool.free());
      const pieces = piecesOfBuffer(pool, features, transport.legacy);
      checkRingsHold(pieces, sizes);
      const chains = [pieces, LONGEST_TRANSMIT_CHAIN];
      const [receiveRing, transmitRing] = sizes.map((size, index) => {
        const ring = createRing(transport, features, first + index, size, Math.min(size, chains[index]));
        undo.push(() => ring.free());
        return ring;
      });
      return new QueuePair(
        number,
        createReceiveQueue({ ring: receiveRing, pool, transport }, features, transport.legacy),
        createTransmitQueue(transmitRing, pool, transport, { features, legacy: transport.legacy, mtu }),
        pool,
      );
    } catch (error) {
      for (const step of undo.reverse()) step();
      throw error;
    }
  }

  /** Tells the device where the rings lie, and posts the receive buffers. No notification is sent yet. */
  enable(transport: Transport): void {
    this.enableQueue(transport, 'receive');
    this.enableQueue(transport, 'transmit');
  }

  /** As {@link enable}, for one of the queues. */
  enableQueue(transport: Transport, direction: Direction): void {
    const { ring } = this[direction];
    ring.suppressInterrupts();
    transport.enableQueue(ring.index, ring.layout);
    if (direction === 'receive') this.receive.fill();
    else this.transmit.putBack();
  }

  /** Takes all buffers back from a device that was reset, and keeps what is in them for when it is enabled again. */
  setAside(): void {
    this.receive.setAside();
    this.transmit.setAside();
  }

  /** Takes all buffers back from a device that was reset; says how many frames were lost in it. */
  reset(): LostFrames {
    return { queuePair: this.number, receive: this.receive.reset(), transmit: this.transmit.reset() };
  }

  /** As {@link reset}, for one queue that was reset alone. */
  resetQueue(direction: Direction): LostFrames {
    return { queuePair: this.number, receive: 0, transmit: 0, [direction]: this[direction].reset() };
  }

  /** Gives all memory back. The device must have been reset. */
  free(): void {
    freeAll([this.pool, this.receive.ring, this.transmit.ring]);
  }
}

/** A buffer that is scattered over more pieces than a ring has descriptors could never be posted. */
function checkRingsHold(pieces: number, sizes: readonly number[]): void {
  const least = Math.min(...sizes);
  if (pieces <= least) return;
  throw new UsageError(
    'OPTION_INVALID',
    `A packet buffer is in ${pieces} pieces, and a ring has ${least} descriptors`,
    {
      remedy: 'Use larger rings ({ queueSize }), or smaller buffers ({ bufferSize }).',
    },
  );
}

/** The receive ring keeps as many buffers as it has descriptors; one more must be there to send anything. */
function choosePoolSize(sizes: readonly number[], wanted: number | undefined): number {
  const least = sizes[RECEIVE] + 1;
  if (wanted !== undefined && wanted < least) {
    throw new UsageError('OPTION_INVALID', `poolSize is ${wanted}`, {
      remedy: `Give at least ${least}: one buffer per receive descriptor, and one to send.`,
    });
  }
  return wanted ?? 2 * (sizes[RECEIVE] + sizes[TRANSMIT]);
}
