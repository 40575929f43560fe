/** The beginning of every connection: what the backend is and can do. */
import { VhostUserError } from '../../errors.js';
import type { Connection } from './connection.js';
import { encodeConfig, KNOWN_PROTOCOL_FEATURES, PROTOCOL_FEATURE, type RequestName } from './messages.js';

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

/**
 * Has a backend say what it is. It may not be up yet, or hang: its answers are waited for on the event loop.
 *
 * @param name - of the backend, for messages
 * @param answered - waits until there is something to read, or the time for that is over
 * @throws VhostUserError, and what `answered` is rejected with
 */
export async function greet(
  connection: Connection,
  name: string,
  answered: () => Promise<void>,
): Promise<Greeting> {
  const get = async (request: RequestName): Promise<bigint> => {
    connection.post(request);
    await answered();
    return connection.collect(request);
  };
  connection.set('SET_OWNER');
  const features = await get('GET_FEATURES');
  if ((features & HAS_PROTOCOL_FEATURES) === 0n) {
    return { features, protocol: 0n, queuePairs: 1, config: undefined };
  }
  const protocol = (await get('GET_PROTOCOL_FEATURES')) & KNOWN_PROTOCOL_FEATURES;
  connection.setU64('SET_PROTOCOL_FEATURES', protocol);
  connection.acknowledged = (protocol & PROTOCOL_FEATURE.REPLY_ACK) !== 0n;
  const hasQueues = (protocol & PROTOCOL_FEATURE.MQ) !== 0n;
  const queuePairs = hasQueues ? checkPairs(await get('GET_QUEUE_NUM'), name) : 1;
  if ((protocol & PROTOCOL_FEATURE.CONFIG) === 0n) {
    return { features, protocol, queuePairs, config: undefined };
  }
  const request = encodeConfig(0, new Uint8Array(CONFIG_LENGTH));
  connection.post('GET_CONFIG', request);
  await answered();
  return { features, protocol, queuePairs, config: connection.collectConfig(request) };
}

function checkPairs(pairs: bigint, name: string): number {
  if (pairs < 1n)
    throw new VhostUserError('VHOST_USER_MESSAGE_INVALID', `${name} says that it has no queues`);
  return pairs > MOST_QUEUE_PAIRS ? MOST_QUEUE_PAIRS : Number(pairs);
}
