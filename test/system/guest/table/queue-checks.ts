/** Checks of single queues and of several queue pairs. */
import type { PacketBuffer } from 'virtio-net';
import { parseIpv4 } from 'virtio-net/packet';
import { PEER_PORT, type Figures, type SuiteCard } from '../../../vm/table/suite.js';
import { check, lengthsOf } from './common-checks.js';
import type { Station } from './station.js';
import { readUdp, udpFrame } from './udp.js';

/** Each queue is reset on its own while the others stay as they are. */
export async function checkQueueReset(station: Station): Promise<Figures> {
  const { device } = station;
  const pairs = pairsOf(station);
  for (let pair = 0; pair < pairs; pair += 1) {
    for (const direction of ['receive', 'transmit'] as const) {
      const { queue, lostSettings } = await device.resetQueue(pair, direction);
      check(queue?.queuePair === pair && queue.direction === direction, 'another queue was reset');
      check(lostSettings.length === 0 && device.state === 'running', 'the device did not go on');
      await station.echo({ lengths: lengthsOf(50), window: 16 });
    }
  }
  return { queues: 2 * pairs };
}

export const pairsOf = ({ device }: Station): number => device.queuePairs;

export const FLOW_PORT = 4000;

/** Asks the peer for datagrams, each from a port of its own. */
export async function requestFlows(
  station: Station,
  card: SuiteCard,
  count: number,
  length: number,
): Promise<void> {
  const ends = {
    ownMac: station.device.macBytes,
    peerMac: station.peerMac,
    ownIp: parseIpv4(card.wire.cardIp),
    peerIp: parseIpv4(card.wire.peerIp),
    ownPort: FLOW_PORT,
    peerPort: PEER_PORT.flows,
  };
  await station.device.send(udpFrame(ends, Buffer.from(`${count} ${length}`)));
}

const FLOWS = 400;
const QUIET_MS = 300;

/** Frames leave through each pair in use, and frames of many flows come through all of those and no other. */
export async function checkPairs(station: Station, card: SuiteCard): Promise<Figures> {
  const { device } = station;
  const pairs = pairsOf(station);
  const all = await sharesOfFlows(station, card, pairs);
  // While the device runs: only the first, and all of them again.
  for (const used of [1, pairs]) {
    await device.setQueuePairs(used);
    await sharesOfFlows(station, card, pairs);
  }
  return { pairs, shares: all.join('/') };
}

/** Has many flows come. @returns how many frames came over each open pair */
async function sharesOfFlows(station: Station, card: SuiteCard, open: number): Promise<number[]> {
  const used = pairsOf(station);
  const received = (): number[] =>
    Array.from({ length: open }, (_, pair) => station.device.queuePair(pair).statistics().receive.frames);
  const before = received();
  const seen = new Set<number>();
  const listener = (frame: Uint8Array): void => {
    const datagram = readUdp(frame);
    if (datagram?.destinationPort === FLOW_PORT) seen.add(datagram.sourcePort);
  };
  station.listeners.add(listener);
  for (let pair = 0; pair < used; pair += 1) await sendThrough(station, card, pair);
  await station.until(() => seen.size >= FLOWS, `datagrams of ${FLOWS} flows`);
  await quiet(station, received);
  station.listeners.delete(listener);
  const shares = received().map((frames, pair) => frames - before[pair]);
  check(
    shares.every((frames, pair) => frames > 0 === pair < used),
    `frames received by pair, ${used} in use: ${shares.join()}`,
  );
  return shares;
}

/** Waits until nothing more comes: what was asked for through one pair may still be under way. */
async function quiet(station: Station, received: () => number[]): Promise<void> {
  for (let last = ''; last !== received().join();) {
    last = received().join();
    const end = performance.now() + QUIET_MS;
    await station.until(() => performance.now() > end, 'a quiet wire');
  }
}

/** Asks for a share of the flows by a frame that leaves through the pair. */
async function sendThrough(station: Station, card: SuiteCard, pair: number): Promise<void> {
  const ends = {
    ownMac: station.device.macBytes,
    peerMac: station.peerMac,
    ownIp: parseIpv4(card.wire.cardIp),
    peerIp: parseIpv4(card.wire.peerIp),
    ownPort: FLOW_PORT,
    peerPort: PEER_PORT.flows,
  };
  const handle = station.device.queuePair(pair);
  const sent = handle.statistics().transmit.completed;
  const packet: PacketBuffer = handle.allocate();
  packet.setFrame(udpFrame(ends, Buffer.from(`${FLOWS} 64`)));
  await station.until(() => handle.transmit([packet]) === 1, 'room in the ring');
  await station.until(() => {
    // Finished frames are counted when they are taken back.
    const batch: PacketBuffer[] = [];
    handle.transmit(batch, 0);
    return handle.statistics().transmit.completed > sent;
  }, `pair ${pair} to send`);
}
