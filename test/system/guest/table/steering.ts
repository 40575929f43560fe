/** Receive side scaling: each flow comes to the queue pair that its hash selects, as our own computation has it. */
import type { PacketBuffer } from 'virtio-net';
import type { Figures, SuiteCard } from '../../../vm/table/suite.js';
import { check } from './common-checks.js';
import { FLOW_PORT, pairsOf, requestFlows } from './queue-checks.js';
import type { Station } from './station.js';
import { toeplitz } from './toeplitz.js';
import { readUdp, type Datagram } from './udp.js';

const KEY = Uint8Array.from({ length: 40 }, (_, at) => (at * 37 + 11) & 0xff);
/** Uneven, so that neither a plain remainder nor another spreading passes for it. */
const TABLE = [3, 1, 0, 2, 2, 3, 1, 1, 0, 3, 2, 0, 1, 3, 3, 2];
const FLOWS = 300;
/** What a hash report says of UDP over IPv4 (VIRTIO 1.3, 5.1.6.4.4.2). */
const REPORT_UDP_V4 = 3;

function hashOf({ sourceIp, destinationIp, sourcePort, destinationPort }: Datagram): number {
  const ports = Uint8Array.of(
    sourcePort >> 8,
    sourcePort & 0xff,
    destinationPort >> 8,
    destinationPort & 0xff,
  );
  return toeplitz(KEY, Uint8Array.from([...sourceIp, ...destinationIp, ...ports]));
}

/** Looks at what came to one pair. @returns how many flows were seen */
function judge(station: Station, pair: number, seen: Set<number>): number {
  const { device } = station;
  const reports = device.features.has('VIRTIO_NET_F_HASH_REPORT');
  const batch: PacketBuffer[] = [];
  const count = device.queuePair(pair).receive(batch);
  let flows = 0;
  for (const packet of batch.slice(0, count)) {
    const datagram = readUdp(packet.copy());
    const { hash, hashType } = packet;
    packet.release();
    if (datagram?.destinationPort !== FLOW_PORT) continue;
    const expected = hashOf(datagram);
    check(TABLE[expected % TABLE.length] === pair, `a flow of hash ${expected} came to pair ${pair}`);
    if (reports) check(hash === expected, `the hash ${hash} was reported in place of ${expected}`);
    if (reports) check(hashType === REPORT_UDP_V4, `the hash was reported to be of type ${hashType}`);
    seen.add(datagram.sourcePort);
    flows += 1;
  }
  return flows;
}

export async function checkSteering(station: Station, card: SuiteCard): Promise<Figures> {
  const { device } = station;
  const pairs = pairsOf(station);
  await device.control.setRss({ types: ['IPv4', 'TCPv4', 'UDPv4'], key: KEY, table: TABLE });
  await requestFlows(station, card, FLOWS, 64);
  const seen = new Set<number>();
  const shares = new Array<number>(pairs).fill(0);
  const deadline = performance.now() + 20_000;
  while (seen.size < FLOWS) {
    check(performance.now() < deadline, `${seen.size} of ${FLOWS} flows came: ${shares.join('/')}`);
    for (let pair = 0; pair < pairs; pair += 1) shares[pair] += judge(station, pair, seen);
    await new Promise((resolve) => setImmediate(resolve));
  }
  check(
    shares.every((share) => share > 0),
    `flows by pair: ${shares.join('/')}`,
  );
  return { flows: seen.size, shares: shares.join('/') };
}
