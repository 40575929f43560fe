import { DeviceError } from '../../errors.js';
import type { NegotiatedFeatures } from '../features.js';
import { COMMANDS, type CommandBody, type ControlCommand } from './commands.js';
import {
  answerLength,
  CAPABILITIES_LENGTH,
  decodeCapabilities,
  decodeReplies,
  encodeRequests,
  statisticsRequests,
  type DeviceStatistics,
  type StatisticsRequest,
} from './device-statistics.js';

/** How often more room is given to a device that filled what it had. */
const GROWTHS = 3;

type Send = (command: ControlCommand, body: CommandBody) => Promise<Uint8Array>;

/**
 * Asks the device what it can count, and for all of that.
 *
 * @throws DeviceError CONTROL_ANSWER_INVALID, and whatever a command fails with
 */
export async function readDeviceStatistics(
  send: Send,
  features: NegotiatedFeatures,
  pairs: number,
  controlQueue: number,
): Promise<DeviceStatistics> {
  const capabilities = decodeCapabilities(
    await send(COMMANDS.STATS_QUERY, { resultLength: CAPABILITIES_LENGTH }),
  );
  const requests = statisticsRequests(capabilities, features, pairs, controlQueue);
  const found = requests.length === 0 ? new Map<number, Record<string, bigint>>() : await ask(send, requests);
  const ofPairs = Array.from({ length: pairs }, (_, pair) => pair);
  return {
    receive: ofPairs.map((pair) => found.get(2 * pair) ?? {}),
    transmit: ofPairs.map((pair) => found.get(2 * pair + 1) ?? {}),
    control: found.get(controlQueue) ?? {},
  };
}

/** A device that knows more counters than the driver needs more room than was reckoned with (5.1.6.5.10.12). */
async function ask(
  send: Send,
  requests: readonly StatisticsRequest[],
): Promise<Map<number, Record<string, bigint>>> {
  const data = [encodeRequests(requests)];
  let resultLength = answerLength(requests);
  for (let growth = 0; growth <= GROWTHS; growth += 1, resultLength *= 2) {
    const answer = await send(COMMANDS.STATS_GET, { data, resultLength });
    const found = decodeReplies(answer, requests);
    if (found !== undefined) return found;
    if (answer.length < resultLength) break;
  }
  throw new DeviceError('CONTROL_ANSWER_INVALID', 'The device did not tell all the statistics that it has');
}
