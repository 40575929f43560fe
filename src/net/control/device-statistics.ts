/**
 * What the device itself counts (VIRTIO 1.3, 5.1.6.5.10): its answers, told apart and checked.
 */
import { DeviceError } from '../../errors.js';
import type { FeatureName } from '../feature-table.js';
import type { NegotiatedFeatures } from '../features.js';

/** Length of struct virtio_net_stats_reply_hdr, and of one entry of struct virtio_net_ctrl_queue_stats, in bytes. */
const REPLY_HEADER_LENGTH = 8;
const REQUEST_LENGTH = 16;
const COUNTER_LENGTH = 8;

/** A group of counters of one kind of queue. */
interface StatisticsGroup {
  /** Its bit among the capabilities, and its type in a reply. */
  readonly type: number;
  /** One of these must have been negotiated; none if that is not so. */
  readonly features: readonly FeatureName[];
  /** The counters, in their order. */
  readonly counters: readonly string[];
}

const RECEIVE_GROUPS = [
  {
    type: 0,
    features: [],
    counters: ['notifications', 'packets', 'bytes', 'interrupts', 'drops', 'dropOverruns'],
  },
  {
    type: 1,
    features: ['VIRTIO_NET_F_GUEST_CSUM'],
    counters: ['checksumValid', 'checksumNeeded', 'checksumNone', 'checksumBad'],
  },
  {
    type: 2,
    features: ['VIRTIO_NET_F_GUEST_TSO4', 'VIRTIO_NET_F_GUEST_TSO6'],
    counters: ['gsoPackets', 'gsoBytes', 'gsoPacketsCoalesced', 'gsoBytesCoalesced'],
  },
  {
    type: 3,
    features: ['VIRTIO_NET_F_SPEED_DUPLEX'],
    counters: ['packetsAllowanceExceeded', 'bytesAllowanceExceeded'],
  },
] as const satisfies readonly StatisticsGroup[];

const TRANSMIT_GROUPS = [
  {
    type: 16,
    features: [],
    counters: ['notifications', 'packets', 'bytes', 'interrupts', 'drops', 'dropMalformed'],
  },
  { type: 17, features: ['VIRTIO_NET_F_CSUM'], counters: ['checksumNone', 'checksumNeeded'] },
  {
    type: 18,
    features: ['VIRTIO_NET_F_HOST_TSO4', 'VIRTIO_NET_F_HOST_TSO6', 'VIRTIO_NET_F_HOST_USO'],
    counters: [
      'gsoPackets',
      'gsoBytes',
      'gsoSegments',
      'gsoSegmentBytes',
      'gsoPacketsUnsegmented',
      'gsoBytesUnsegmented',
    ],
  },
  {
    type: 19,
    features: ['VIRTIO_NET_F_SPEED_DUPLEX'],
    counters: ['packetsAllowanceExceeded', 'bytesAllowanceExceeded'],
  },
] as const satisfies readonly StatisticsGroup[];

const CONTROL_GROUPS = [
  { type: 32, features: [], counters: ['commands', 'succeeded'] },
] as const satisfies readonly StatisticsGroup[];

type CountersOf<Groups extends readonly StatisticsGroup[]> = Readonly<
  Partial<Record<Groups[number]['counters'][number], bigint>>
>;

/** Counters of a receive queue, as far as the device has them; frames and bytes since its last reset. */
export type DeviceReceiveStatistics = CountersOf<typeof RECEIVE_GROUPS>;
/** Counters of a transmit queue, as far as the device has them. */
export type DeviceTransmitStatistics = CountersOf<typeof TRANSMIT_GROUPS>;
/** Counters of the control queue, as far as the device has them. */
export type DeviceControlStatistics = CountersOf<typeof CONTROL_GROUPS>;

/** What the device counts. A counter that it does not have is not there. */
export interface DeviceStatistics {
  /** By number of the queue pair. */
  readonly receive: readonly DeviceReceiveStatistics[];
  readonly transmit: readonly DeviceTransmitStatistics[];
  readonly control: DeviceControlStatistics;
}

/** What to ask of one queue. */
export interface StatisticsRequest {
  readonly queue: number;
  readonly groups: readonly StatisticsGroup[];
}

/** struct virtio_net_stats_capabilities. */
export const CAPABILITIES_LENGTH = 8;

/** The capabilities, as bits. */
export function decodeCapabilities(answer: Uint8Array): bigint {
  if (answer.length < CAPABILITIES_LENGTH) {
    throw invalidAnswer(`it told its capabilities in ${answer.length} bytes of ${CAPABILITIES_LENGTH}`);
  }
  return viewOf(answer).getBigUint64(0, true);
}

/** What to ask, given what the device can answer and what was negotiated: in the order of the queues. */
export function statisticsRequests(
  capabilities: bigint,
  features: NegotiatedFeatures,
  pairs: number,
  controlQueue: number,
): StatisticsRequest[] {
  const answerable = (groups: readonly StatisticsGroup[]): StatisticsGroup[] =>
    groups.filter(
      ({ type, features: oneOf }) =>
        (capabilities & (1n << BigInt(type))) !== 0n &&
        (oneOf.length === 0 || oneOf.some((name) => features.has(name))),
    );
  const receive = answerable(RECEIVE_GROUPS);
  const transmit = answerable(TRANSMIT_GROUPS);
  const ofPairs = Array.from({ length: pairs }, (_, pair) => [
    { queue: 2 * pair, groups: receive },
    { queue: 2 * pair + 1, groups: transmit },
  ]);
  const requests = [...ofPairs.flat(), { queue: controlQueue, groups: answerable(CONTROL_GROUPS) }];
  return requests.filter(({ groups }) => groups.length > 0);
}

/** struct virtio_net_ctrl_queue_stats. */
export function encodeRequests(requests: readonly StatisticsRequest[]): Uint8Array {
  const bytes = new Uint8Array(requests.length * REQUEST_LENGTH);
  const view = viewOf(bytes);
  requests.forEach(({ queue, groups }, index) => {
    view.setUint16(index * REQUEST_LENGTH, queue, true);
    const types = groups.reduce((bits, { type }) => bits | (1n << BigInt(type)), 0n);
    view.setBigUint64(index * REQUEST_LENGTH + 8, types, true);
  });
  return bytes;
}

/** Bytes of the answer, if the device knows no more counters than the driver. */
export function answerLength(requests: readonly StatisticsRequest[]): number {
  const groups = requests.flatMap((request) => request.groups);
  return groups.reduce(
    (sum, { counters }) => sum + REPLY_HEADER_LENGTH + counters.length * COUNTER_LENGTH,
    0,
  );
}

/**
 * The counters by queue.
 *
 * @returns undefined if replies are missing
 * @throws DeviceError CONTROL_ANSWER_INVALID
 */
export function decodeReplies(
  answer: Uint8Array,
  requests: readonly StatisticsRequest[],
): Map<number, Record<string, bigint>> | undefined {
  const found = new Map(requests.map(({ queue }) => [queue, noCounters()]));
  let expected = requests.reduce((sum, { groups }) => sum + groups.length, 0);
  const view = viewOf(answer);
  for (let at = 0; at + REPLY_HEADER_LENGTH <= answer.length && expected > 0; expected -= 1) {
    const size = view.getUint16(at + 6, true);
    if (at + size > answer.length) return undefined;
    const queue = view.getUint16(at + 2, true);
    const group = groupOf(requests, queue, view.getUint8(at), size);
    const counters = found.get(queue) ?? {};
    group.counters.forEach((name, index) => {
      counters[name] = view.getBigUint64(at + REPLY_HEADER_LENGTH + index * COUNTER_LENGTH, true);
    });
    at += size;
  }
  return expected === 0 ? found : undefined;
}

/** The group that a reply belongs to; a newer device may have more counters in it. */
function groupOf(
  requests: readonly StatisticsRequest[],
  queue: number,
  type: number,
  size: number,
): StatisticsGroup {
  const group = requests
    .find((request) => request.queue === queue)
    ?.groups.find((candidate) => candidate.type === type);
  if (group === undefined) {
    throw invalidAnswer(`it told statistics of type ${type} of queue ${queue}, which nobody asked for`);
  }
  const least = REPLY_HEADER_LENGTH + group.counters.length * COUNTER_LENGTH;
  if (size >= least) return group;
  throw invalidAnswer(`its statistics of type ${type} have ${size} bytes of ${least}`);
}

function invalidAnswer(how: string): DeviceError {
  return new DeviceError('CONTROL_ANSWER_INVALID', `The device does not keep to the protocol: ${how}`);
}

function noCounters(): Record<string, bigint> {
  return {};
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
