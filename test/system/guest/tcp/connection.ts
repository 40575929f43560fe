/**
 * A TCP connection over the driver: the client's side, in order, without selective acknowledgements or congestion
 * control. It hands the card segments larger than its MTU where that was negotiated, and counts what it sees.
 */
import { CHECKSUM, GSO, type PacketBuffer } from 'virtio-net';
import type { Station } from '../table/station.js';
import {
  completeTcp,
  readTcp,
  TCP_CHECKSUM_OFFSET,
  TCP_FLAG,
  tcpHeaders,
  tcpOffset,
  type TcpEnds,
  type TcpSegment,
} from './segment.js';

/** What was sent and received, in segments as the card was given them and gave them. */
export interface TcpCounts {
  sent: number;
  /** Sent to be cut into frames by the card. */
  sentLarge: number;
  received: number;
  /** Received larger than a frame can be. */
  receivedLarge: number;
  /** Received with a checksum that the sender left to be completed, or that the card has found right. */
  receivedUnsummed: number;
  retransmitted: number;
  outOfOrder: number;
}

const WINDOW_SCALE = 7;
/** What may be under way to us, in bytes. */
const OWN_WINDOW = 512 << 10;
/** What may be under way from us, if the peer takes it. */
const FLIGHT = 512 << 10;
/** Largest payload of a segment that the card cuts: the length of the IP packet must fit into 16 bits. */
const LARGEST = 64_000;
const RETRANSMIT_MS = 2000;

/** The distance from one sequence number to another that is not far behind it. */
const distance = (from: number, to: number): number => (to - from) | 0;

export class TcpConnection {
  readonly counts: TcpCounts = {
    sent: 0,
    sentLarge: 0,
    received: 0,
    receivedLarge: 0,
    receivedUnsummed: 0,
    retransmitted: 0,
    outOfOrder: 0,
  };
  private readonly station: Station;
  private readonly ends: TcpEnds;
  /** Payload of a frame, and of a segment that the card is given. */
  private readonly mss: number;
  private readonly segmentSize: number;
  private readonly completes: boolean;
  private readonly onData: (bytes: Uint8Array) => void;
  private state: 'opening' | 'open' | 'reset' = 'opening';
  private peerEnded = false;
  private readonly first = (Math.random() * 0x100000000) >>> 0;
  /** Bytes acknowledged by the peer, SYN included. */
  private acknowledged = 0;
  private expected = 0;
  private peerWindow = 0;
  private peerScale = 0;

  constructor(station: Station, ends: TcpEnds, onData: (bytes: Uint8Array) => void) {
    this.station = station;
    this.ends = ends;
    this.onData = onData;
    const { features, mtu } = station.device;
    this.mss = mtu - (tcpOffset(ends) - 14) - 20;
    const large = ends.ownIp.length === 4 ? 'VIRTIO_NET_F_HOST_TSO4' : 'VIRTIO_NET_F_HOST_TSO6';
    this.completes = features.has('VIRTIO_NET_F_CSUM');
    this.segmentSize = features.has(large) ? LARGEST - (LARGEST % this.mss) : this.mss;
    station.listeners.add((frame, packet) => this.take(frame, packet));
  }

  async connect(): Promise<void> {
    const options = Uint8Array.of(2, 4, this.mss >> 8, this.mss & 0xff, 1, 3, 3, WINDOW_SCALE);
    const isOpen = (): boolean => this.state !== 'opening';
    for (let attempt = 0; attempt < 5 && !isOpen(); attempt += 1) {
      await this.emit(TCP_FLAG.SYN, 0, new Uint8Array(0), options);
      await this.station.until(isOpen, 'the connection to open', RETRANSMIT_MS).catch(() => undefined);
    }
    if (this.state !== 'open') throw new Error(`the connection did not open: ${this.state}`);
  }

  /** Sends bytes and waits until the peer has acknowledged them all; `last` ends the direction. */
  async send(bytes: Uint8Array, last: boolean): Promise<void> {
    const base = this.acknowledged;
    const end = base + bytes.length + (last ? 1 : 0);
    let sent = base;
    while (this.acknowledged < end) {
      const room = Math.min(this.peerWindow, FLIGHT) - (sent - this.acknowledged);
      const left = base + bytes.length - sent;
      if (left > 0 && room >= Math.min(left, this.segmentSize)) {
        const size = Math.min(left, this.segmentSize);
        await this.emit(TCP_FLAG.ACK | TCP_FLAG.PSH, sent, bytes.subarray(sent - base, sent - base + size));
        sent += size;
      } else if (left === 0 && last && sent < end) {
        await this.emit(TCP_FLAG.ACK | TCP_FLAG.FIN, sent, new Uint8Array(0));
        sent = end;
      } else if (!(await this.progress(sent))) {
        this.counts.retransmitted += 1;
        sent = this.acknowledged;
      }
    }
  }

  /** Waits until the peer has taken more; says no where it does not for a while. */
  private async progress(sent: number): Promise<boolean> {
    const before = this.acknowledged;
    const moved = (): boolean => this.acknowledged > before || this.state === 'reset';
    try {
      await this.station.until(moved, `acknowledgement of ${sent - before} bytes`, RETRANSMIT_MS);
    } catch (error) {
      if (this.counts.retransmitted > 20) throw error;
      return false;
    }
    if (this.state === 'reset') throw new Error('the peer reset the connection');
    return true;
  }

  /** Waits for the end of what the peer sends. */
  async ended(): Promise<void> {
    for (let before = -1; !this.peerEnded;) {
      if (before === this.expected) throw this.stalled();
      before = this.expected;
      const moved = (): boolean => this.peerEnded || this.state === 'reset';
      await this.station.until(moved, 'the end of the stream').catch(() => undefined);
      if (this.state === 'reset') throw new Error('the peer reset the connection');
    }
  }

  private stalled(): Error {
    const seen = JSON.stringify({ ...this.counts, ...this.station.device.statistics() });
    return new Error(`the peer sends nothing more, and has not ended: ${seen}`);
  }

  private take(frame: Uint8Array, packet: PacketBuffer): void {
    const segment = readTcp(frame, this.ends);
    if (segment === undefined) return;
    this.count(segment, frame, packet);
    if ((segment.flags & TCP_FLAG.RST) !== 0) this.state = 'reset';
    else if (this.state === 'opening') this.takeOpening(segment);
    else if (this.state === 'open') this.takeOpen(segment);
  }

  private count(segment: TcpSegment, frame: Uint8Array, packet: PacketBuffer): void {
    this.counts.received += 1;
    if (frame.length > this.station.device.mtu + 14) this.counts.receivedLarge += 1;
    if (packet.checksum !== CHECKSUM.NONE) this.counts.receivedUnsummed += 1;
    else if (!segment.checksumValid()) throw new Error('a frame came with a wrong checksum');
  }

  private takeOpening({ flags, sequence, options, window }: TcpSegment): void {
    if ((flags & TCP_FLAG.SYN) === 0) return;
    this.expected = (sequence + 1) >>> 0;
    this.acknowledged = 1;
    this.peerScale = windowScale(options);
    this.peerWindow = window;
    this.state = 'open';
    this.acknowledge();
  }

  private takeOpen({ flags, sequence, acknowledgement, window, payload }: TcpSegment): void {
    const taken = distance((this.first + this.acknowledged) >>> 0, acknowledgement);
    if (taken > 0) this.acknowledged += taken;
    this.peerWindow = window << this.peerScale;
    const fin = (flags & TCP_FLAG.FIN) !== 0;
    if (payload.length === 0 && !fin) return;
    const ahead = distance(this.expected, sequence);
    if (ahead > 0) this.counts.outOfOrder += 1;
    else if (-ahead <= payload.length && !this.peerEnded) {
      this.onData(payload.subarray(-ahead));
      this.expected = (sequence + payload.length + (fin ? 1 : 0)) >>> 0;
      if (fin) this.peerEnded = true;
    }
    this.acknowledge();
  }

  /** A lost acknowledgement does no harm: where there is no room for one, the next does. */
  private acknowledge(): void {
    const batch: PacketBuffer[] = [];
    if (this.station.device.allocateBatch(batch, 1) === 0) return;
    this.fill(batch, TCP_FLAG.ACK, this.acknowledged, new Uint8Array(0));
    if (this.station.device.transmit(batch) === 0) batch[0].release();
  }

  private async emit(flags: number, at: number, payload: Uint8Array, options?: Uint8Array): Promise<void> {
    const { device } = this.station;
    const total = tcpOffset(this.ends) + 20 + (options?.length ?? 0) + payload.length;
    const batch: PacketBuffer[] = [];
    await this.station.until(() => {
      const have = batch.length;
      const more: PacketBuffer[] = [];
      device.allocateBatch(more, 1);
      batch.push(...more);
      while (batch.length > 0 && total > batch.length * batch[0].capacity) {
        const next: PacketBuffer[] = [];
        if (device.allocateBatch(next, 1) === 0) break;
        batch.push(...next);
      }
      return batch.length > have && total <= batch.length * batch[0].capacity;
    }, 'free packet buffers');
    this.fill(batch, flags, at, payload, options);
    await this.station.until(() => device.transmit(batch, 1) === 1, 'room in the ring');
    this.counts.sent += 1;
  }

  /** Makes a frame of the first packet, and of the others segments behind it as far as they are needed. */
  private fill(
    batch: readonly PacketBuffer[],
    flags: number,
    at: number,
    payload: Uint8Array,
    options?: Uint8Array,
  ): void {
    const fields = {
      sequence: (this.first + at) >>> 0,
      acknowledgement: this.expected,
      flags,
      window: (flags & TCP_FLAG.SYN) === 0 ? OWN_WINDOW >> WINDOW_SCALE : 0xffff,
      ...(options === undefined ? {} : { options }),
    };
    const headers = tcpHeaders(this.ends, fields, payload.length);
    const frame = Buffer.concat([headers, payload]);
    const [first] = batch;
    if (this.completes) {
      first.checksum = CHECKSUM.NEEDED;
      first.checksumStart = tcpOffset(this.ends);
      first.checksumOffset = TCP_CHECKSUM_OFFSET;
    } else completeTcp(frame, this.ends);
    if (payload.length > this.mss) {
      first.gso = this.ends.ownIp.length === 4 ? GSO.TCP_V4 : GSO.TCP_V6;
      first.gsoSize = this.mss;
      this.counts.sentLarge += 1;
    }
    spread(frame, batch);
  }
}

/** Fills the buffers with the frame, one after another, and links them. */
export function spread(frame: Uint8Array, buffers: readonly PacketBuffer[]): void {
  let at = 0;
  for (const [number, buffer] of buffers.entries()) {
    const end = Math.min(frame.length, at + buffer.capacity);
    buffer.setFrame(frame.subarray(at, end));
    if (number > 0) buffers[number - 1].next = buffer;
    at = end;
  }
}

/** The shift of the window scale option, 0 without one. */
function windowScale(options: Uint8Array): number {
  for (let at = 0; at < options.length;) {
    const kind = options[at];
    if (kind === 0) return 0;
    if (kind === 3) return options[at + 2];
    at += kind === 1 ? 1 : Math.max(2, options[at + 1]);
  }
  return 0;
}
