/**
 * What one card sends for its device to cut and to sum arrives at another card that takes only plain frames: the Linux
 * between them had to do what was asked for.
 */
import { randomBytes } from 'node:crypto';
import { CHECKSUM, GSO, type PacketBuffer } from 'virtio-net';
import { parseIpv4 } from 'virtio-net/packet';
import type { Figures, SuiteCard } from '../../../vm/table/suite.js';
import { withSecond } from '../table/second-card.js';
import type { Station } from '../table/station.js';
import { spread } from './connection.js';
import { readTcp, TCP_CHECKSUM_OFFSET, TCP_FLAG, tcpHeaders, tcpOffset, type TcpEnds } from './segment.js';

const ROUNDS = 20;
const LARGEST = 60_000;

/** The segment as frames of this many bytes of payload. */
interface Large {
  readonly payload: Uint8Array;
  readonly mss: number;
}

function fill(buffers: readonly PacketBuffer[], ends: TcpEnds, { payload, mss }: Large): void {
  const fields = { sequence: 0, acknowledgement: 1, flags: TCP_FLAG.ACK, window: 1 };
  spread(Buffer.concat([tcpHeaders(ends, fields, payload.length), payload]), buffers);
  const [first] = buffers;
  first.checksum = CHECKSUM.NEEDED;
  first.checksumStart = tcpOffset(ends);
  first.checksumOffset = TCP_CHECKSUM_OFFSET;
  if (payload.length <= mss) return;
  first.gso = GSO.TCP_V4;
  first.gsoSize = mss;
}

async function sendLarge(station: Station, ends: TcpEnds, large: Large): Promise<void> {
  const { device } = station;
  const total = tcpOffset(ends) + 20 + large.payload.length;
  const buffers = [device.allocate()];
  while (buffers.length * buffers[0].capacity < total) buffers.push(device.allocate());
  fill(buffers, ends, large);
  await station.until(() => device.transmit(buffers, 1) === 1, 'room in the ring');
}

/** Receives the frames of one segment, each of which must be plain, no longer than the MTU and rightly summed. */
class Arrival {
  readonly bytes: Uint8Array;
  frames = 0;
  seen = 0;
  wrong: string | undefined;
  private readonly ends: TcpEnds;
  private readonly longest: number;

  constructor(ends: TcpEnds, length: number, longest: number) {
    this.bytes = new Uint8Array(length);
    this.ends = ends;
    this.longest = longest;
  }

  take(frame: Uint8Array, packet: PacketBuffer): void {
    const segment = readTcp(frame, this.ends);
    if (segment === undefined) return;
    if (frame.length > this.longest) this.wrong = `a frame of ${frame.length} bytes arrived`;
    if (packet.checksum !== CHECKSUM.NONE || !segment.checksumValid())
      this.wrong = 'a checksum was not completed';
    this.bytes.set(segment.payload, segment.sequence);
    this.frames += 1;
    this.seen += segment.payload.length;
  }
}

async function cross(from: Station, to: Station, ends: TcpEnds, large: Large): Promise<number> {
  const { ownMac, peerMac, ownIp, peerIp, ownPort, peerPort } = ends;
  const back = {
    ownMac: peerMac,
    peerMac: ownMac,
    ownIp: peerIp,
    peerIp: ownIp,
    ownPort: peerPort,
    peerPort: ownPort,
  };
  const arrival = new Arrival(back, large.payload.length, to.device.mtu + 14);
  const listener = (frame: Uint8Array, packet: PacketBuffer): void => arrival.take(frame, packet);
  to.listeners.add(listener);
  await sendLarge(from, ends, large);
  await to.until(
    () => arrival.seen >= large.payload.length,
    `${large.payload.length} bytes, ${arrival.seen} seen`,
  );
  to.listeners.delete(listener);
  if (arrival.wrong !== undefined) throw new Error(arrival.wrong);
  if (Buffer.compare(arrival.bytes, large.payload) !== 0)
    throw new Error('other bytes arrived than were sent');
  return arrival.frames;
}

/** The Linux in the namespace routes between the two cards. */
export function checkCrossing(station: Station, card: SuiteCard): Promise<Figures> {
  const { features, macBytes, mtu } = station.device;
  const mss = mtu - 40;
  const isLarge = features.has('VIRTIO_NET_F_HOST_TSO4');
  return withSecond(card, async (second) => {
    // Its neighbour is asked for once, so that the tap knows that somebody is there.
    await second.resolvePeer();
    const ends: TcpEnds = {
      ownMac: macBytes,
      peerMac: station.peerMac,
      ownIp: parseIpv4(card.wire.cardIp),
      peerIp: second.ownIp,
      ownPort: 1000,
      peerPort: 2000,
    };
    let frames = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      const length = isLarge ? LARGEST - round * 777 : mss - round;
      frames += await cross(station, second, ends, { payload: randomBytes(length), mss });
    }
    return { sent: ROUNDS, arrived: frames };
  });
}
