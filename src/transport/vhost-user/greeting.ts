/** The beginning of every connection: what the backend is and can do. */
import { VhostUserError } from '../../errors.js';
import type { Connection } from './connection.js';
import { encodeConfig, KNOWN_PROTOCOL_FEATURES, PROTOCOL_FEATURE } from './messages.js';

/** The feature bit that stands for the protocol features. */
export const HAS_PROTOCOL_FEATURES = 1n << 30n;
/** Number of the rings that a message can name, in pairs. */
const MOST_QUEUE_PAIRS = 128;
/** MAC address, status, number of queue pairs and MTU: the fields that are used of a backend's configuration. */
export const CONFIG_LENGTH = 12;

/** What a backend has told of itself. */
export interface Greeting {
  /** All feature bits, those of the protocol included. */
  readonly features: bigint;
  /** The protocol features that both sides use. */
  readonly protocol: bigint;
  readonly queuePairs: number;
  /** The first bytes of its configuration space, where it has one. */
  readonly config: Uint8Array | undefined;
}

/** The first request, whose answer may take a while: the backend may not be up yet. */
export function beginGreeting(connection: Connection): void {
  connection.set('SET_OWNER');
  connection.post('GET_FEATURES');
}

/**
 * The rest, when there is an answer to the first request.
 *
 * @throws VhostUserError
 */
export function finishGreeting(connection: Connection, name: string): Greeting {
  const features = connection.collect('GET_FEATURES');
  if ((features & HAS_PROTOCOL_FEATURES) === 0n) {
    return { features, protocol: 0n, queuePairs: 1, config: undefined };
  }
  const protocol = connection.get('GET_PROTOCOL_FEATURES') & KNOWN_PROTOCOL_FEATURES;
  connection.setU64('SET_PROTOCOL_FEATURES', protocol);
  connection.acknowledged = (protocol & PROTOCOL_FEATURE.REPLY_ACK) !== 0n;
  const hasQueues = (protocol & PROTOCOL_FEATURE.MQ) !== 0n;
  return {
    features,
    protocol,
    queuePairs: hasQueues ? checkPairs(connection.get('GET_QUEUE_NUM'), name) : 1,
    config: (protocol & PROTOCOL_FEATURE.CONFIG) === 0n ? undefined : readConfig(connection),
  };
}

function readConfig(connection: Connection): Uint8Array | undefined {
  return connection.getConfig(encodeConfig(0, new Uint8Array(CONFIG_LENGTH)));
}

function checkPairs(pairs: bigint, name: string): number {
  if (pairs < 1n)
    throw new VhostUserError('VHOST_USER_MESSAGE_INVALID', `${name} says that it has no queues`);
  return pairs > MOST_QUEUE_PAIRS ? MOST_QUEUE_PAIRS : Number(pairs);
}
