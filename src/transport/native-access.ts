/** What a thread needs to work at the queues of a card that another thread of the process has opened. */
import { EventPoll, detachArrayBuffer } from '../native/node-functions.js';
import { koffi } from '../native/koffi.js';
import { shim } from '../native/shim.js';
import { DATA_SHIFT } from './doorbells.js';
import type { MemoryAddress, SharedDoorbell } from './sharing.js';

export class NativeAccess {
  private readonly views: ArrayBuffer[] = [];
  private readonly polls: EventPoll[] = [];

  /** An ArrayBuffer of this thread over memory that another one has allocated. */
  view({ address, size }: MemoryAddress): ArrayBuffer {
    const view = koffi().view(BigInt(address), size);
    this.views.push(view);
    return view;
  }

  /** A function that notifies the device of new buffers; it is given the position in the ring. */
  bell(doorbell: SharedDoorbell): (data: number) => void {
    const { mmio_write16: write16, mmio_write32: write32, eventfd_signal: signal } = shim();
    if ('fd' in doorbell) return () => void signal(doorbell.fd);
    const { address, width, id } = doorbell;
    if (width === 2) return () => void write16(address, id);
    return (data) => void write32(address, (id | (data << DATA_SHIFT)) >>> 0);
  }

  /** Calls the handler on the event loop of this thread whenever the eventfd is signalled. */
  listen(fd: number, handler: () => void): void {
    this.polls.push(new EventPoll(fd, handler));
  }

  setKeepAlive(keepAlive: boolean): void {
    for (const poll of this.polls) poll.setKeepAlive(keepAlive);
  }

  /** Ends all listening; the length of all views is 0 afterwards. */
  close(): void {
    for (const poll of this.polls.splice(0)) poll.close();
    for (const view of this.views.splice(0)) detachArrayBuffer(view);
  }
}
