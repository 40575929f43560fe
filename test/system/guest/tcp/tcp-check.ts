/** Streams to and from a TCP of Linux, compared by their digests. */
import { createHash, randomBytes } from 'node:crypto';
import { parseIpv4 } from 'virtio-net/packet';
import { PEER_PORT, type Figures, type SuiteCard } from '../../../vm/table/suite.js';
import type { Station } from '../table/station.js';
import { TcpConnection } from './connection.js';
import type { TcpEnds } from './segment.js';

const MIB = 1 << 20;
const DIGEST_BYTES = 32;

export type IpVersion = 4 | 6;

/** The bytes of an IPv6 address of the form that the wire's addresses have: groups, and one `::`. */
function parseIpv6(text: string): Uint8Array {
  const [head, rest = ''] = text.split('::');
  const groups = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16));
  const [left, right] = [groups(head), groups(rest)];
  const all = [...left, ...new Array<number>(8 - left.length - right.length).fill(0), ...right];
  return Uint8Array.from(all.flatMap((group) => [group >> 8, group & 0xff]));
}

function endsOf(station: Station, { wire }: SuiteCard, version: IpVersion, peerPort: number): TcpEnds {
  const { cardIp, peerIp, cardIp6 = '', peerIp6 = '' } = wire;
  return {
    ownMac: station.device.macBytes,
    peerMac: station.peerMac,
    ownIp: version === 4 ? parseIpv4(cardIp) : parseIpv6(cardIp6),
    peerIp: version === 4 ? parseIpv4(peerIp) : parseIpv6(peerIp6),
    ownPort: 20_000 + Math.floor(Math.random() * 30_000),
    peerPort,
  };
}

interface SinkAnswer {
  readonly sha256: string;
  readonly bytes: number;
  readonly tap: { readonly packets: number; readonly bytes: number };
}

/** Sends a stream; the peer answers with its digest, and with how many packets the kernel saw. */
async function sendStream(station: Station, ends: TcpEnds, length: number): Promise<Figures> {
  const answer: Buffer[] = [];
  const connection = new TcpConnection(station, ends, (bytes) => answer.push(Buffer.from(bytes)));
  await connection.connect();
  const chunk = randomBytes(4 * MIB);
  const hash = createHash('sha256');
  const began = performance.now();
  for (let left = length; left > 0; left -= chunk.length) {
    const bytes = chunk.subarray(0, Math.min(left, chunk.length));
    // Chunks differ, so that a lost one shows.
    bytes.writeUInt32LE(left, 0);
    hash.update(bytes);
    await connection.send(bytes, left <= chunk.length);
  }
  const seconds = (performance.now() - began) / 1000;
  await connection.ended();
  const seen = JSON.parse(Buffer.concat(answer).toString()) as SinkAnswer;
  if (seen.bytes !== length || seen.sha256 !== hash.digest('hex')) {
    throw new Error(`${seen.bytes} bytes of ${length} arrived, or other ones`);
  }
  const { sentLarge, retransmitted } = connection.counts;
  return {
    outMiB: length / MIB,
    outMiBps: Math.round(length / MIB / seconds),
    outLarge: sentLarge,
    outBytesPerPacket: Math.round(seen.tap.bytes / seen.tap.packets),
    retransmitted,
  };
}

/** Receives a stream whose last bytes are the digest of those before. */
async function receiveStream(station: Station, ends: TcpEnds, length: number): Promise<Figures> {
  const hash = createHash('sha256');
  const digest: Buffer[] = [];
  let seen = 0;
  const connection = new TcpConnection(station, ends, (bytes) => {
    const data = Math.max(0, Math.min(bytes.length, length - seen));
    hash.update(bytes.subarray(0, data));
    if (data < bytes.length) digest.push(Buffer.from(bytes.subarray(data)));
    seen += bytes.length;
  });
  await connection.connect();
  const began = performance.now();
  await connection.send(Buffer.from(String(length)), false);
  await connection.ended();
  const seconds = (performance.now() - began) / 1000;
  await connection.send(new Uint8Array(0), true);
  if (seen !== length + DIGEST_BYTES) throw new Error(`${seen - DIGEST_BYTES} bytes of ${length} came`);
  if (!Buffer.concat(digest).equals(hash.digest())) throw new Error('other bytes came than were sent');
  const { receivedLarge, receivedUnsummed, outOfOrder } = connection.counts;
  return {
    inMiB: length / MIB,
    inMiBps: Math.round(length / MIB / seconds),
    inLarge: receivedLarge,
    inUnsummed: receivedUnsummed,
    outOfOrder,
  };
}

/** Without segments larger than a frame, a stream is cut by us into so many that less of it has to do. */
const SMALL_STREAM = 2 * MIB;

/** A stream each way; where large segments were negotiated, they must have crossed as such. */
export async function checkTcp(station: Station, card: SuiteCard, version: IpVersion): Promise<Figures> {
  const { features } = station.device;
  const sendsLarge = features.has(version === 4 ? 'VIRTIO_NET_F_HOST_TSO4' : 'VIRTIO_NET_F_HOST_TSO6');
  const takesLarge = features.has(version === 4 ? 'VIRTIO_NET_F_GUEST_TSO4' : 'VIRTIO_NET_F_GUEST_TSO6');
  const large = version === 4 ? card.streamMiB * MIB : 2 * SMALL_STREAM;
  const ends = (port: number): TcpEnds => endsOf(station, card, version, port);
  const out = await sendStream(station, ends(PEER_PORT.sink), sendsLarge ? large : SMALL_STREAM);
  const frame = station.device.mtu + 14;
  if (sendsLarge !== Number(out.outBytesPerPacket) > frame) {
    throw new Error(`the kernel saw packets of ${String(out.outBytesPerPacket)} bytes on average`);
  }
  const back = await receiveStream(station, ends(PEER_PORT.source), takesLarge ? large : SMALL_STREAM);
  if (takesLarge !== Number(back.inLarge) > 0) throw new Error(`${String(back.inLarge)} large segments came`);
  if (features.has('VIRTIO_NET_F_GUEST_CSUM') !== Number(back.inUnsummed) > 0) {
    throw new Error(`${String(back.inUnsummed)} segments came with a checksum that was left out`);
  }
  return { ...out, ...back };
}
