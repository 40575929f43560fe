/** Commands for the statistics of the device (VIRTIO 1.3, 5.1.6.5.10). */
import type { SimulatedFeature } from '../features.js';
import type { QueueCounters } from '../statistics.js';
import { breach, viewOver, type Command } from './command.js';
import type { NetState } from './state.js';

const ENTRY_LENGTH = 16;
const REPLY_HEADER = 8;

type QueueKind = 'receive' | 'transmit' | 'control';

/** One type of statistics. */
interface StatisticsType {
  /** Number of its bit, and what the reply says. */
  readonly type: number;
  readonly kind: QueueKind;
  /** At least one of these must have been negotiated; any will do if there are none. */
  readonly oneOf: readonly SimulatedFeature[];
  readonly values: (counters: QueueCounters, state: NetState) => readonly number[];
}

const TYPES: readonly StatisticsType[] = [
  {
    type: 0,
    kind: 'receive',
    oneOf: [],
    values: (q) => [q.notifications, q.frames, q.bytes, q.interruptsSent, q.drops, q.dropsNoBuffer],
  },
  {
    type: 1,
    kind: 'receive',
    oneOf: ['VIRTIO_NET_F_GUEST_CSUM'],
    values: (q) => [q.checksumsValid, q.checksumsNeeded, q.frames - q.checksumsValid - q.checksumsNeeded, 0],
  },
  {
    type: 2,
    kind: 'receive',
    oneOf: ['VIRTIO_NET_F_GUEST_TSO4', 'VIRTIO_NET_F_GUEST_TSO6'],
    values: (q) => [q.gsoFrames, q.gsoBytes, 0, 0],
  },
  { type: 3, kind: 'receive', oneOf: ['VIRTIO_NET_F_SPEED_DUPLEX'], values: () => [0, 0] },
  {
    type: 16,
    kind: 'transmit',
    oneOf: [],
    values: (q) => [q.notifications, q.frames, q.bytes, q.interruptsSent, q.drops, 0],
  },
  {
    type: 17,
    kind: 'transmit',
    oneOf: ['VIRTIO_NET_F_CSUM'],
    values: (q) => [q.frames - q.checksumsNeeded, q.checksumsNeeded],
  },
  {
    type: 18,
    kind: 'transmit',
    oneOf: ['VIRTIO_NET_F_HOST_TSO4', 'VIRTIO_NET_F_HOST_TSO6', 'VIRTIO_NET_F_HOST_USO'],
    values: (q) => [q.gsoFrames, q.gsoBytes, q.segments, q.segmentBytes, 0, 0],
  },
  { type: 19, kind: 'transmit', oneOf: ['VIRTIO_NET_F_SPEED_DUPLEX'], values: () => [0, 0] },
  {
    type: 32,
    kind: 'control',
    oneOf: [],
    // The command that asks counts as received and done.
    values: (_, { commands }) => [commands.count, commands.done + 1],
  },
];

const query: Command = {
  name: 'VIRTIO_NET_CTRL_STATS_QUERY',
  class: 8,
  command: 0,
  needs: ['VIRTIO_NET_F_DEVICE_STATS'],
  run(data) {
    if (data.length > 0) return 'error';
    const result = new Uint8Array(8);
    const types = TYPES.reduce((bits, { type }) => bits | (1n << BigInt(type)), 0n);
    viewOver(result).setBigUint64(0, types, true);
    return result;
  },
};

const get: Command = {
  name: 'VIRTIO_NET_CTRL_STATS_GET',
  class: 8,
  command: 1,
  needs: ['VIRTIO_NET_F_DEVICE_STATS'],
  run(data, state, room) {
    if (data.length === 0 || data.length % ENTRY_LENGTH !== 0) return 'error';
    const replies: Uint8Array[] = [];
    for (let at = 0; at < data.length; at += ENTRY_LENGTH) {
      const queue = viewOver(data).getUint16(at, true);
      const types = typesAsked(viewOver(data).getBigUint64(at + 8, true));
      const kind = kindOf(queue, state);
      if (types === undefined || kind === undefined || !types.every((one) => isNegotiated(one, state)))
        return 'error';
      if (types.some((one) => one.kind !== kind))
        breach(`${this.name} asks for statistics that queue ${queue}, a ${kind} queue, does not have`);
      replies.push(...types.map((one) => replyOf(one, queue, state)));
    }
    if (room < REPLY_HEADER * replies.length)
      breach(`${this.name} has room for ${room} bytes: too few for the headers of ${replies.length} replies`);
    return joined(replies);
  },
};

/** Undefined where a type is unknown. */
function typesAsked(bits: bigint): StatisticsType[] | undefined {
  const asked = TYPES.filter(({ type }) => (bits & (1n << BigInt(type))) !== 0n);
  const known = asked.reduce((sum, { type }) => sum | (1n << BigInt(type)), 0n);
  return known === bits ? asked : undefined;
}

function kindOf(queue: number, { controlQueue, pairCount }: NetState): QueueKind | undefined {
  if (queue === controlQueue) return 'control';
  if (queue >= 2 * pairCount) return undefined;
  return queue % 2 === 0 ? 'receive' : 'transmit';
}

function isNegotiated({ oneOf }: StatisticsType, { rules }: NetState): boolean {
  return oneOf.length === 0 || oneOf.some((feature) => rules.has(feature));
}

function replyOf({ type, values }: StatisticsType, queue: number, state: NetState): Uint8Array {
  const numbers = values(state.surroundings.queueCounters[queue], state);
  const reply = new Uint8Array(REPLY_HEADER + 8 * numbers.length);
  const view = viewOver(reply);
  view.setUint8(0, type);
  view.setUint16(2, queue, true);
  view.setUint16(6, reply.length, true);
  for (const [index, value] of numbers.entries())
    view.setBigUint64(REPLY_HEADER + 8 * index, BigInt(value), true);
  return reply;
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

export const STATS_COMMANDS: readonly Command[] = [query, get];
