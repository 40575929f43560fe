/** What the interrupts of a VFIO device have in common: each kind has a number, and is routed to eventfds. */
import { EventFd } from '../native/event-fd.js';
import { shim } from '../native/shim.js';
import { IRQ_FLAG_EVENTFD } from './constants.js';
import { fetchInfo } from './info.js';

const IRQ_INFO_BYTES = 16;

/** How many interrupts of that kind can be routed to eventfds. */
export function readIrqCount(deviceFd: number, kind: number): number {
  const bytes = fetchInfo('VFIO_DEVICE_GET_IRQ_INFO', IRQ_INFO_BYTES, (buffer) =>
    shim().vfio_irq_info(deviceFd, kind, buffer, buffer.length),
  );
  const [, flags = 0, , count = 0] = new Uint32Array(bytes.buffer, 0, 4);
  return (flags & IRQ_FLAG_EVENTFD) === 0 ? 0 : count;
}

/** An eventfd that calls `handler` on the event loop; the caller closes it. */
export function listenOnEvent(handler: () => void, keepAlive: boolean): EventFd {
  const event = EventFd.create();
  try {
    event.setKeepAlive(keepAlive);
    event.listen(handler);
    return event;
  } catch (error) {
    event.close();
    throw error;
  }
}
