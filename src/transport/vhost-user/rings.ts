/** Handing rings over to a vhost-user backend, and taking them back. */
import type { DeviceAddress } from '../../memory/dma.js';
import type { QueueLayout } from '../transport.js';
import type { Connection } from './connection.js';
import { HAS_PROTOCOL_FEATURES, type Greeting } from './greeting.js';
import { isRefusal } from './failures.js';
import { encodeAddresses, encodeFile } from './messages.js';
import type { RingEvents } from './ring-events.js';

/** Where a backend begins in a ring in its initial state: on a packed ring with its wrap counter set (VIRTIO 1.3, 2.8.1). */
const FIRST = { split: 0, packed: 1 << 15 } as const;

/** Tells the backend of a ring. It may use it once it is enabled. */
export function handOver(
  connection: Connection,
  queue: number,
  layout: QueueLayout,
  events: RingEvents,
  packed: boolean,
): void {
  connection.setState('SET_VRING_NUM', queue, layout.size);
  connection.setState('SET_VRING_BASE', queue, packed ? FIRST.packed : FIRST.split);
  connection.set(
    'SET_VRING_ADDR',
    encodeAddresses(queue, {
      descriptors: bigintOf(layout.descriptorArea),
      available: bigintOf(layout.driverArea),
      used: bigintOf(layout.deviceArea),
    }),
  );
  setFile(connection, 'SET_VRING_ERR', queue, events.errorFd);
  setFile(connection, 'SET_VRING_CALL', queue, events.callOf(queue));
  setFile(connection, 'SET_VRING_KICK', queue, layout.kickFd ?? events.kickOf(queue));
}

/** Lets the backend use a ring, or no longer. Without the protocol features a ring is enabled by its kick. */
export function setEnabled(
  connection: Connection,
  { features }: Greeting,
  queue: number,
  enabled: boolean,
): void {
  if ((features & HAS_PROTOCOL_FEATURES) === 0n) return;
  connection.setState('SET_VRING_ENABLE', queue, enabled ? 1 : 0);
}

/** Takes a ring back: when this returns the backend uses none of its buffers any more. */
export function takeBack(connection: Connection, greeting: Greeting, queue: number): void {
  try {
    setEnabled(connection, greeting, queue, false);
  } catch (error) {
    // The next request stops the ring whether it is enabled or not.
    if (!isRefusal(error)) throw error;
  }
  connection.getState('GET_VRING_BASE', queue);
}

function setFile(
  connection: Connection,
  name: 'SET_VRING_ERR' | 'SET_VRING_CALL' | 'SET_VRING_KICK',
  queue: number,
  fd: number | undefined,
): void {
  connection.set(name, encodeFile(queue, fd !== undefined), fd === undefined ? [] : [fd]);
}

function bigintOf({ lo, hi }: DeviceAddress): bigint {
  return (BigInt(hi) << 32n) | BigInt(lo);
}
