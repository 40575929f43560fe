import type { NetDevice, PacketBuffer } from 'virtio-net';
import { formatIpv4, ICMP_TYPE, readEchoFrame, sameAddress, buildIcmpEcho } from 'virtio-net/packet';
import type { PingArguments } from './arguments.js';
import { Neighbour } from './neighbour.js';
import { formatTime, RoundTrips } from './report.js';
import type { Waiting } from './waiting.js';

/** How long to wait for the neighbour's MAC address, and for replies after the last request, in milliseconds. */
const ARP_WAIT = 1000;
const FIRST_REPLY_WAIT = 10_000;
const LEAST_LINGER = 1000;
/** With `--interval 0`: when to send the next request even though no reply has come. */
const FLOOD_WAIT = 10;

/** Sends the requests, matches the replies, and prints a line for each. */
export class Pinger {
  readonly trips = new RoundTrips();
  sent = 0;
  private readonly device: NetDevice;
  private readonly options: PingArguments;
  private readonly waiting: Waiting;
  private readonly print: (text: string) => void;
  private readonly neighbour: Neighbour;
  private readonly identifier = process.pid & 0xffff;
  private readonly data: Uint8Array;
  /** When the request of each 16-bit sequence number left; NaN if there is none, or it was answered. */
  private readonly departures = new Float64Array(65536).fill(NaN);
  private readonly answered = new Uint8Array(65536);

  constructor(device: NetDevice, options: PingArguments, waiting: Waiting, print: (text: string) => void) {
    this.device = device;
    this.options = options;
    this.waiting = waiting;
    this.print = print;
    this.neighbour = new Neighbour(device, options.target, options.source);
    this.data = Uint8Array.from({ length: options.size }, (_, byte) => byte & 0xff);
    device.on('frame', (packet) => this.receive(packet));
  }

  /** Sends all requests and waits for the replies, or until interrupted. */
  async run(): Promise<void> {
    const { count, interval } = this.options;
    while (this.sent < count && !this.waiting.interrupted) {
      const before = this.trips.received;
      const next = performance.now() + (interval === 0 ? FLOOD_WAIT : interval);
      await this.sendOne().catch((error: unknown) => {
        if (!this.waiting.interrupted) throw error;
      });
      if (this.sent === count) break;
      await this.waiting.until(next, () => interval === 0 && this.trips.received > before);
    }
    const linger = this.trips.received > 0 ? Math.max(2 * this.trips.most, LEAST_LINGER) : FIRST_REPLY_WAIT;
    await this.waiting.until(
      performance.now() + linger,
      () => this.trips.received + this.trips.errors >= this.sent,
    );
  }

  private async sendOne(): Promise<void> {
    const destinationMac = await this.resolve();
    if (this.waiting.interrupted) return;
    const sequence = (this.sent + 1) & 0xffff;
    if (destinationMac === undefined) {
      this.sent += 1;
      this.trips.errors += 1;
      this.print(
        `From ${formatIpv4(this.options.source)} icmp_seq=${sequence} Destination Host Unreachable\n`,
      );
      return;
    }
    const request = buildIcmpEcho({
      sourceMac: this.device.macBytes,
      destinationMac,
      sourceIp: this.options.source,
      destinationIp: this.options.target,
      identifier: this.identifier,
      sequence,
      data: this.data,
    });
    this.answered[sequence] = 0;
    this.departures[sequence] = performance.now();
    await this.device.send(request, { signal: this.waiting.signal });
    // Only now: one that was interrupted while it waited for room was not sent.
    this.sent += 1;
  }

  private async resolve(): Promise<Uint8Array | undefined> {
    if (this.neighbour.mac === undefined) {
      await this.neighbour.ask();
      await this.waiting.until(performance.now() + ARP_WAIT, () => this.neighbour.mac !== undefined);
    }
    return this.neighbour.mac;
  }

  private receive(packet: PacketBuffer): void {
    const { frame } = packet;
    if (!this.neighbour.receive(frame)) this.receiveReply(frame);
    this.waiting.look();
  }

  private receiveReply(frame: Uint8Array): void {
    const now = performance.now();
    const reply = readEchoFrame(frame);
    if (reply?.echo.type !== ICMP_TYPE.ECHO_REPLY || reply.echo.identifier !== this.identifier) return;
    if (!sameAddress(reply.ipv4.destination, this.options.source)) return;
    const { sequence, payloadOffset, payloadEnd } = reply.echo;
    const duplicate = this.answered[sequence] === 1;
    const time = now - this.departures[sequence];
    if (Number.isNaN(time)) return;
    if (duplicate) this.trips.duplicates += 1;
    else this.trips.add(time);
    this.answered[sequence] = 1;
    const wrong = this.findWrongByte(frame.subarray(payloadOffset, payloadEnd));
    if (this.options.interval === 0 && wrong === '') return;
    const length = payloadEnd - payloadOffset + 8;
    const from = formatIpv4(reply.ipv4.source);
    const mark = duplicate ? ' (DUP!)' : '';
    this.print(
      `${length} bytes from ${from}: icmp_seq=${sequence} ttl=${reply.ipv4.ttl} time=${formatTime(time)} ms${mark}${wrong}\n`,
    );
  }

  private findWrongByte(data: Uint8Array): string {
    if (data.length < this.data.length) return ' (truncated)';
    const at = this.data.findIndex((byte, index) => byte !== data[index]);
    return at < 0
      ? ''
      : `\nwrong data byte #${at} should be 0x${hex(this.data[at])} but was 0x${hex(data[at])}`;
  }
}

function hex(byte: number): string {
  return byte.toString(16);
}
