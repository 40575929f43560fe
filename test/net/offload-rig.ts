/**
 * A receive and a transmit queue with a device in its plainest form behind them, which does what the tests say, right or
 * wrong.
 */
import type { FeatureName } from '../../src/index.js';
import type { PacketBuffer } from '../../src/memory/packet-buffer.js';
import { PacketPool } from '../../src/memory/packet-pool.js';
import { createReceiveQueue } from '../../src/net/create-receive-queue.js';
import { headerSize } from '../../src/net/header.js';
import type { ReceiveQueue } from '../../src/net/receive-queue.js';
import { createTransmitQueue, type TransmitQueue } from '../../src/net/transmit-queue.js';
import type { Transport } from '../../src/transport/transport.js';
import { SplitVirtqueue } from '../../src/virtqueue/split-virtqueue.js';
import type { Virtqueue } from '../../src/virtqueue/virtqueue.js';
import { PlainMemory } from '../support/plain-memory.js';
import type { Part, Taken } from '../virtqueue/device.js';
import { SplitDevice } from '../virtqueue/split-device.js';

export interface RigOptions {
  readonly features?: readonly FeatureName[];
  readonly legacy?: boolean;
  readonly ringSize?: number;
  readonly poolSize?: number;
  readonly frameCapacity?: number;
  readonly memory?: PlainMemory;
  /** Descriptors in each indirect table. */
  readonly indirectEntries?: number;
}

export interface Rig {
  readonly pool: PacketPool;
  readonly receive: ReceiveQueue;
  readonly transmit: TransmitQueue;
  readonly headerSize: number;
  /** Fills the next receive buffer with the bytes, as far as they fit it, and returns it. Says how many fitted. */
  readonly fill: (bytes: Uint8Array, used?: number) => number;
  /** Lengths of the descriptors of the next receive buffer, which the device keeps. */
  readonly posted: () => number[];
  /** What the device finds in the next transmit buffer, header included; it is returned. */
  readonly sent: () => { parts: readonly Part[]; bytes: Uint8Array };
  /** Receives what has come. */
  readonly received: (max?: number) => PacketBuffer[];
}

export function rig(options: RigOptions = {}): Rig {
  const { features = [], legacy = false, ringSize = 16, frameCapacity = 1518, indirectEntries = 0 } = options;
  const memory = options.memory ?? new PlainMemory();
  const has = (name: FeatureName): boolean => features.includes(name);
  const transport = { notify: () => undefined, legacy } as unknown as Transport;
  const pool = new PacketPool(memory, options.poolSize ?? 4 * ringSize, frameCapacity);
  const ring = (index: number): Virtqueue =>
    new SplitVirtqueue(memory, { index, size: ringSize, eventIndex: true, indirectEntries });
  const receive = createReceiveQueue({ ring: ring(0), pool, transport }, { has }, legacy);
  const transmit = createTransmitQueue(ring(1), pool, transport, { features: { has }, legacy, mtu: 1500 });
  const receiver = new SplitDevice(memory, receive.ring.layout, true);
  const sender = new SplitDevice(memory, transmit.ring.layout, true);
  receive.fill();
  return {
    pool,
    receive,
    transmit,
    headerSize: headerSize({ has }, legacy),
    fill: (bytes, used) => {
      const taken = next(receiver);
      const fitting = scatter(memory, taken.parts, bytes);
      receiver.return(taken.id, used ?? fitting);
      return fitting;
    },
    posted: () => next(receiver).parts.map(({ length }) => length),
    sent: () => {
      const { id, parts } = next(sender);
      const bytes = parts.flatMap(({ address, length }) => [...bytesAt(memory, address, length)]);
      sender.return(id, 0);
      return { parts, bytes: Uint8Array.from(bytes) };
    },
    received: (max = 64) => {
      const batch: PacketBuffer[] = [];
      const count = receive.receive(batch, max);
      return batch.slice(0, count);
    },
  };
}

/** struct virtio_net_hdr, as a device writes it. */
export function header(
  size: number,
  fields: {
    flags?: number;
    gsoType?: number;
    headerLength?: number;
    gsoSize?: number;
    checksumStart?: number;
    checksumOffset?: number;
    buffers?: number;
    hash?: number;
    hashReport?: number;
  } = {},
): Uint8Array {
  const view = new DataView(new ArrayBuffer(20));
  view.setUint8(0, fields.flags ?? 0);
  view.setUint8(1, fields.gsoType ?? 0);
  view.setUint16(2, fields.headerLength ?? 0, true);
  view.setUint16(4, fields.gsoSize ?? 0, true);
  view.setUint16(6, fields.checksumStart ?? 0, true);
  view.setUint16(8, fields.checksumOffset ?? 0, true);
  view.setUint16(10, fields.buffers ?? 1, true);
  view.setUint32(12, fields.hash ?? 0, true);
  view.setUint16(16, fields.hashReport ?? 0, true);
  return new Uint8Array(view.buffer, 0, size);
}

export function join(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

function next(device: SplitDevice): Taken {
  const taken = device.take();
  if (taken === undefined) throw new Error('the driver gave no buffer');
  return taken;
}

function scatter(memory: PlainMemory, parts: readonly Part[], bytes: Uint8Array): number {
  let at = 0;
  for (const { address, length } of parts) {
    const piece = bytes.subarray(at, at + length);
    bytesAt(memory, address, piece.length).set(piece);
    at += piece.length;
  }
  return at;
}

function bytesAt(memory: PlainMemory, address: number, length: number): Uint8Array {
  return memory.bytesAt(address % 2 ** 32, Math.floor(address / 2 ** 32), length);
}
