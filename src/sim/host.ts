/** The other end of the wire: a small host that answers ARP, ping and UDP echo, in whatever VLAN. */
import { UsageError } from '../errors.js';
import {
  ARP_OPERATION,
  ETHER_TYPE,
  ICMP_TYPE,
  IP_PROTOCOL,
  buildArpReply,
  buildIcmpEcho,
  isBroadcastMac,
  parseIpv4,
  parseMac,
  readArp,
  readEchoFrame,
  readEthernet,
  readIpv4,
  sameAddress,
  type EthernetHeader,
} from '../packet/index.js';
import { hasRightChecksum } from './net/checksum.js';
import type { ArrivingOffload } from './net/delivery.js';
import { linkHeaderLength, word } from './net/dissect.js';
import { NO_OFFLOAD, transportOf, type FrameOffload } from './net/offload.js';
import { later } from './scheduling.js';

/** Where VLAN tags lie, if there are any, and the port of the UDP echo service. */
const TAGS_AT = 12;
const ECHO_PORT = 7;

/** Brings a frame to the driver; false if it had no room for it. */
export type SendToDriver = (frame: Uint8Array, offload?: ArrivingOffload) => boolean;

/** What a simulated device has at the other end of its wire. */
export interface NetworkHost {
  /**
   * A frame has come from the driver.
   *
   * @param frame - a copy, which the host may keep; its checksums are complete
   * @param send - sends a frame to the driver, now or later; false if the driver had no room for it. With offload
   *   fields, it is a large packet, or has a checksum that is partial or found right, see `injectOffload()`
   * @param offload - what it was when the driver sent it: with `gso`, a large packet that was not segmented
   */
  receive(frame: Uint8Array, send: SendToDriver, offload?: FrameOffload): void;
}

export interface EchoHostOptions {
  /** `52:55:0a:00:02:02` if it is left out. */
  readonly mac?: string;
  /** `10.0.2.2` if it is left out. */
  readonly ip?: string;
  /** The part of the frames that get lost on their way to the host, 0 to 1; none if it is left out. */
  readonly lossRate?: number;
  /** How long the host takes to answer, in milliseconds; with 0 it answers at once, within the notification. */
  readonly latencyMs?: number;
  /** Gives numbers from 0 to 1 that decide on losses; `Math.random` if it is left out. */
  readonly random?: () => number;
}

/** What an {@link EchoHost} has counted. */
export interface EchoHostStatistics {
  /** Frames that came, lost ones left out. */
  readonly received: number;
  readonly lost: number;
  readonly arpReplies: number;
  readonly echoReplies: number;
  /** Answers of the UDP echo service, port 7 (RFC 862). */
  readonly udpReplies: number;
  /** ARP or IPv4 frames that are cut short or have a wrong checksum; they were dropped. */
  readonly malformed: number;
  /** Sound frames that this host has no answer to. */
  readonly ignored: number;
}

/**
 * A host that answers ARP requests for its address, ICMP echo requests of any size, and UDP datagrams to port 7. It
 * answers in the VLAN that it was asked in, and a large UDP packet with one that is to be cut in the same way.
 */
export interface EchoHost extends NetworkHost {
  readonly mac: string;
  readonly ip: string;
  readonly statistics: EchoHostStatistics;
}

/**
 * Makes a host that answers ARP, ping and UDP echo.
 *
 * @throws UsageError ADDRESS_MALFORMED, OPTION_INVALID
 */
export function createEchoHost(options: EchoHostOptions = {}): EchoHost {
  return new SmallHost(options);
}

/** What to do with a frame: a reply, or the name of the counter that it goes to. */
type Verdict = { readonly reply: Uint8Array; readonly counter: Counter } | Counter;
type Counter = keyof EchoHostStatistics;

class SmallHost implements EchoHost {
  readonly mac: string;
  readonly ip: string;
  readonly statistics: Record<Counter, number> = {
    received: 0,
    lost: 0,
    arpReplies: 0,
    echoReplies: 0,
    udpReplies: 0,
    malformed: 0,
    ignored: 0,
  };
  readonly #macBytes: Uint8Array;
  readonly #ipBytes: Uint8Array;
  readonly #lossRate: number;
  readonly #latencyMs: number;
  readonly #random: () => number;

  constructor({ mac = '52:55:0a:00:02:02', ip = '10.0.2.2', ...options }: EchoHostOptions) {
    this.mac = mac;
    this.ip = ip;
    this.#macBytes = parseMac(mac);
    this.#ipBytes = parseIpv4(ip);
    this.#lossRate = inRange('lossRate', options.lossRate ?? 0, 1);
    this.#latencyMs = inRange('latencyMs', options.latencyMs ?? 0, 2 ** 31 - 1);
    this.#random = options.random ?? Math.random;
  }

  receive(frame: Uint8Array, send: SendToDriver, offload: FrameOffload = NO_OFFLOAD): void {
    if (this.#lossRate > 0 && this.#random() < this.#lossRate) {
      this.statistics.lost++;
      return;
    }
    this.statistics.received++;
    const tags = tagsOf(frame);
    const verdict = this.#judge(withoutTags(frame, tags));
    this.statistics[typeof verdict === 'string' ? verdict : verdict.counter]++;
    if (typeof verdict === 'string') return;
    const reply = withTags(verdict.reply, tags);
    const answer = (): boolean =>
      verdict.counter === 'udpReplies' && offload.gso !== NO_OFFLOAD.gso
        ? send(reply, { gso: offload.gso, gsoSize: offload.gsoSize })
        : send(reply);
    if (this.#latencyMs > 0) later(this.#latencyMs, answer);
    else answer();
  }

  #judge(frame: Uint8Array): Verdict {
    const ethernet = readEthernet(frame);
    if (ethernet === undefined) return 'malformed';
    if (!this.#isForMe(ethernet)) return 'ignored';
    if (ethernet.etherType === ETHER_TYPE.ARP) return this.#answerArp(frame, ethernet);
    if (ethernet.etherType === ETHER_TYPE.IPV4) return this.#answerIpv4(frame, ethernet);
    return 'ignored';
  }

  #isForMe({ destination }: EthernetHeader): boolean {
    return isBroadcastMac(destination) || sameAddress(destination, this.#macBytes);
  }

  #answerArp(frame: Uint8Array, ethernet: EthernetHeader): Verdict {
    const arp = readArp(frame, ethernet.payloadOffset);
    if (arp === undefined) return 'malformed';
    if (arp.operation !== ARP_OPERATION.REQUEST || !sameAddress(arp.targetIp, this.#ipBytes))
      return 'ignored';
    const reply = buildArpReply({
      senderMac: this.#macBytes,
      senderIp: this.#ipBytes,
      targetMac: arp.senderMac,
      targetIp: arp.senderIp,
    });
    return { reply, counter: 'arpReplies' };
  }

  #answerIpv4(frame: Uint8Array, ethernet: EthernetHeader): Verdict {
    const ipv4 = readIpv4(frame, ethernet.payloadOffset);
    if (ipv4?.checksumValid !== true) return 'malformed';
    const fragment = ipv4.moreFragments || ipv4.fragmentOffset > 0;
    if (fragment || !sameAddress(ipv4.destination, this.#ipBytes)) return 'ignored';
    if (ipv4.protocol === IP_PROTOCOL.UDP) return answerUdp(frame);
    return ipv4.protocol === IP_PROTOCOL.ICMP ? this.#answerIcmp(frame, ipv4.payloadOffset) : 'ignored';
  }

  #answerIcmp(frame: Uint8Array, icmpOffset: number): Verdict {
    const request = readEchoFrame(frame);
    if (request === undefined) return frame[icmpOffset] === ICMP_TYPE.ECHO_REQUEST ? 'malformed' : 'ignored';
    const { ethernet, ipv4, echo } = request;
    if (echo.type !== ICMP_TYPE.ECHO_REQUEST) return 'ignored';
    const reply = buildIcmpEcho({
      type: ICMP_TYPE.ECHO_REPLY,
      sourceMac: this.#macBytes,
      destinationMac: ethernet.source,
      sourceIp: this.#ipBytes,
      destinationIp: ipv4.source,
      identifier: echo.identifier,
      sequence: echo.sequence,
      data: frame.subarray(echo.payloadOffset, echo.payloadEnd),
    });
    return { reply, counter: 'echoReplies' };
  }
}

/** The same datagram, its addresses and ports the other way round; that leaves its checksum right. */
function answerUdp(frame: Uint8Array): Verdict {
  const transport = transportOf(frame);
  if (transport === undefined) return 'malformed';
  const { packet } = transport;
  const hasChecksum = word(frame, packet.payload + 6) !== 0;
  if (hasChecksum && hasRightChecksum(frame, packet) !== true) return 'malformed';
  if (word(frame, packet.payload + 2) !== ECHO_PORT) return 'ignored';
  const reply = frame.slice(0, packet.end);
  exchange(reply, 0, 6);
  exchange(reply, packet.start + 12, 4);
  exchange(reply, packet.payload, 2);
  return { reply, counter: 'udpReplies' };
}

/** Exchanges two fields of equal length that lie side by side. */
function exchange(bytes: Uint8Array, at: number, length: number): void {
  const first = bytes.slice(at, at + length);
  bytes.copyWithin(at, at + length, at + 2 * length);
  bytes.set(first, at + length);
}

/** The VLAN tags of a frame, which lie between its addresses and its type. */
function tagsOf(frame: Uint8Array): Uint8Array {
  return frame.slice(TAGS_AT, linkHeaderLength(frame) - 2);
}

function withoutTags(frame: Uint8Array, tags: Uint8Array): Uint8Array {
  if (tags.length === 0) return frame;
  const plain = frame.slice(tags.length);
  plain.set(frame.subarray(0, TAGS_AT));
  return plain;
}

function withTags(frame: Uint8Array, tags: Uint8Array): Uint8Array {
  if (tags.length === 0) return frame;
  const tagged = new Uint8Array(frame.length + tags.length);
  tagged.set(frame.subarray(0, TAGS_AT));
  tagged.set(tags, TAGS_AT);
  tagged.set(frame.subarray(TAGS_AT), TAGS_AT + tags.length);
  return tagged;
}

function inRange(name: string, value: number, max: number): number {
  if (value >= 0 && value <= max) return value;
  throw new UsageError('OPTION_INVALID', `${name} is ${value}, not a number from 0 to ${max}`);
}
