/**
 * A network card that is nothing but its rings: the other side for measuring what the driver's own side of a ring costs.
 * It works in the thread of the driver, when it is told to, so that the two can be timed one by one.
 */
import type { QueueLayout, Transport } from 'virtio-net';
import { ModelMemory } from './memory.js';
import { PackedModelQueue } from './packed-queue.js';
import type { ModelQueue } from './queue.js';
import { SplitModelQueue } from './split-queue.js';

/** Bits of the features that a model may have (VIRTIO 1.3, 5.1.3, 6). */
const MRG_RXBUF = 1n << 15n;
const VERSION_1 = 1n << 32n;
const RING_PACKED = 1n << 34n;
const IN_ORDER = 1n << 35n;

export interface ModelOptions {
  readonly packed: boolean;
  readonly inOrder: boolean;
  readonly mergeable: boolean;
  /** Descriptors of each ring, at most. */
  readonly queueSize: number;
}

/** One queue pair, two queues. */
const QUEUES = 2;

export class ModelDevice implements Transport {
  readonly kind = 'model';
  readonly name = 'ring-model';
  readonly legacy = false;
  readonly queueCount = QUEUES;
  readonly configLength = 0;
  readonly memory = new ModelMemory();
  private readonly options: ModelOptions;
  private readonly queues: ModelQueue[] = [];
  private status = 0;

  constructor(options: ModelOptions) {
    this.options = options;
  }

  /** Lets the device work at a queue; see {@link ModelQueue.finish}. */
  finish(queue: number, most: number, length: number): number {
    return this.queues[queue].finish(most, length);
  }

  readStatus(): number {
    return this.status;
  }

  writeStatus(status: number): void {
    this.status = status;
  }

  readDeviceFeatures(): bigint {
    const { packed, inOrder, mergeable } = this.options;
    return VERSION_1 | (packed ? RING_PACKED : 0n) | (inOrder ? IN_ORDER : 0n) | (mergeable ? MRG_RXBUF : 0n);
  }

  writeDriverFeatures(): void {
    // What was offered is taken: the features are those of the variant that is measured.
  }

  maxQueueSize(): number {
    return this.options.queueSize;
  }

  enableQueue(queue: number, layout: QueueLayout): void {
    const Kind = this.options.packed ? PackedModelQueue : SplitModelQueue;
    this.queues[queue] = new Kind(this.memory, layout);
  }

  resetQueue(): Promise<void> {
    return Promise.reject(new Error('The model can not reset a single queue'));
  }

  notify(): void {
    // It works when it is told to, not when it is notified.
  }

  readConfig(): number {
    return 0;
  }

  writeConfig(): void {
    // It has no configuration.
  }

  readConfigGeneration(): number {
    return 0;
  }

  enableInterrupts(): void {
    // It never interrupts.
  }

  disableInterrupts(): void {
    // It never interrupts.
  }

  setKeepAlive(): void {
    // It keeps nothing alive.
  }

  onRemoval(): void {
    // It is never taken away.
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
