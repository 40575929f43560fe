/** Getting at the queues of a device that another thread has opened. */
import type { MessagePort } from 'node:worker_threads';
import type { DmaMemory } from '../../memory/dma.js';
import type { NativeAccess } from '../../transport/native-access.js';
import type { QueueAccess } from '../../transport/transport.js';
import { QUEUES_PER_PAIR } from '../queue-pair.js';
import type { ControlBlock } from './control-block.js';
import { AdoptedMemory } from './lent-memory.js';
import type { PairMessage, SharedQueuePair } from './shared-queue-pair.js';

/** The transport of a queue pair in the thread that it was lent to. */
export class BorrowedQueues implements QueueAccess {
  readonly name: string;
  readonly memory: DmaMemory;
  readonly legacy: boolean;
  readonly queueCount: number;
  private readonly sizes: readonly number[];
  private readonly block: ControlBlock;
  private readonly port: MessagePort;
  private readonly native: NativeAccess | undefined;
  private readonly bells: (((data: number) => void) | undefined)[] = [];
  private request = 0;

  /** @param native - undefined where all that is shared is plain JavaScript */
  constructor({ setup, port }: SharedQueuePair, block: ControlBlock, native: NativeAccess | undefined) {
    this.name = setup.device;
    this.legacy = setup.legacy;
    this.queueCount = setup.queueCount;
    this.sizes = setup.queueSizes;
    this.block = block;
    this.port = port;
    this.native = native;
    this.memory = new AdoptedMemory(
      setup.regions.map(({ memory, pages }) => ({ buffer: bufferOf(memory, native), pages })),
      setup.ownAddresses,
    );
  }

  /** The device runs, by that request: finds out how its queues are notified now. */
  begin(request: number): void {
    this.request = request;
    for (let queue = 0; queue < QUEUES_PER_PAIR; queue += 1) {
      const doorbell = this.block.doorbell(queue);
      this.bells[queue] = doorbell === undefined ? undefined : this.native?.bell(doorbell);
    }
  }

  maxQueueSize(queue: number): number {
    return this.sizes[queue % QUEUES_PER_PAIR];
  }

  notify(queue: number, data?: number): void {
    const bell = this.bells[queue % QUEUES_PER_PAIR];
    if (bell === undefined) this.passOn(queue, data);
    else bell(data ?? 0);
  }

  close(): void {
    this.bells.length = 0;
    this.native?.close();
  }

  private passOn(queue: number, data: number | undefined): void {
    const message: PairMessage = { kind: 'notify', request: this.request, queue, data };
    this.port.postMessage(message);
  }
}

function bufferOf(
  memory: SharedQueuePair['setup']['regions'][number]['memory'],
  native: NativeAccess | undefined,
): ArrayBufferLike {
  if (memory instanceof SharedArrayBuffer) return memory;
  if (native === undefined) throw new RangeError('memory of a card can not be reached without the shim');
  return native.view(memory);
}
