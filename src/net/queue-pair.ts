/**
 * A receive and a transmit queue with the packet pool that they share.
 */
import { UsageError } from '../errors.js';
import { PacketPool } from '../memory/packet-pool.js';
import type { Transport } from '../transport/transport.js';
import type { Virtqueue } from '../virtqueue/virtqueue.js';
import type { NegotiatedFeatures } from './features.js';
import { ETHERNET_HEADER_SIZE, VLAN_TAG_SIZE } from './header.js';
import { ReceiveQueue } from './receive-queue.js';
import { chooseQueueSize, createRing } from './ring-format.js';
import { TransmitQueue } from './transmit-queue.js';

/** Numbers of the first queue pair at the device (VIRTIO 1.3, 5.1.2). */
const RECEIVE_QUEUE = 0;
const TRANSMIT_QUEUE = 1;
export const QUEUES = 2;

/** What a receive buffer must hold besides its header, whatever the MTU (5.1.6.3.1: 1526 bytes with header). */
const LEAST_FRAME_CAPACITY = 1514;

export interface QueuePairOptions {
  readonly features: NegotiatedFeatures;
  readonly mtu: number;
  /** Wanted number of descriptors, or undefined for the default. */
  readonly queueSize: number | undefined;
  /** Wanted number of buffers, or undefined for the default. */
  readonly poolSize: number | undefined;
}

export class QueuePair {
  readonly receive: ReceiveQueue;
  readonly transmit: TransmitQueue;
  readonly pool: PacketPool;
  private readonly rings: readonly Virtqueue[];

  private constructor(receive: ReceiveQueue, transmit: TransmitQueue, pool: PacketPool) {
    this.receive = receive;
    this.transmit = transmit;
    this.pool = pool;
    this.rings = [receive.ring, transmit.ring];
  }

  /**
   * Allocates rings and buffers. The device must be past FEATURES_OK.
   *
   * @throws DeviceError DEVICE_QUEUE_UNAVAILABLE, UsageError OPTION_INVALID, MemoryError, VfioError
   */
  static create(transport: Transport, options: QueuePairOptions): QueuePair {
    const { mtu, features } = options;
    const sizes = [RECEIVE_QUEUE, TRANSMIT_QUEUE].map((queue) =>
      chooseQueueSize(transport, features, queue, options.queueSize),
    );
    const poolSize = choosePoolSize(sizes, options.poolSize);
    const frameCapacity = Math.max(mtu + ETHERNET_HEADER_SIZE, LEAST_FRAME_CAPACITY) + VLAN_TAG_SIZE;
    const undo: (() => void)[] = [];
    try {
      const [receiveRing, transmitRing] = sizes.map((size, index) => {
        const ring = createRing(transport, features, index, size);
        undo.push(() => ring.free());
        return ring;
      });
      const pool = new PacketPool(transport.memory, poolSize, frameCapacity);
      return new QueuePair(
        new ReceiveQueue(receiveRing, pool, transport),
        new TransmitQueue(transmitRing, pool, transport, mtu),
        pool,
      );
    } catch (error) {
      for (const step of undo.reverse()) step();
      throw error;
    }
  }

  /** Tells the device where the rings lie, and posts the receive buffers. No notification is sent yet. */
  enable(transport: Transport): void {
    for (const ring of this.rings) {
      ring.suppressInterrupts();
      transport.enableQueue(ring.index, ring.layout);
    }
    this.receive.fill();
  }

  /** Takes all buffers back from a device that was reset. */
  reset(): void {
    this.receive.reset();
    this.transmit.reset();
  }

  /** Gives all memory back. The device must have been reset. */
  free(): void {
    const failures: unknown[] = [];
    for (const part of [this.pool, ...this.rings]) {
      try {
        part.free();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}

/** The receive ring keeps as many buffers as it has descriptors; one more must be there to send anything. */
function choosePoolSize(sizes: readonly number[], wanted: number | undefined): number {
  const least = sizes[RECEIVE_QUEUE] + 1;
  if (wanted !== undefined && wanted < least) {
    throw new UsageError('OPTION_INVALID', `poolSize is ${wanted}`, {
      remedy: `Give at least ${least}: one buffer per receive descriptor, and one to send.`,
    });
  }
  return wanted ?? 2 * (sizes[RECEIVE_QUEUE] + sizes[TRANSMIT_QUEUE]);
}
