/** The other end of the wire: a small host that answers ARP and ping. */
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
import type { ArrivingOffload } from './net/delivery.js';
import type { FrameOffload } from './net/offload.js';
import { later } from './scheduling.js';

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
  /** ARP or IPv4 frames that are cut short or have a wrong checksum; they were dropped. */
  readonly malformed: number;
  /** Sound frames that this host has no answer to. */
  readonly ignored: number;
}

/** A host that answers ARP requests for its address, and ICMP echo requests of any size. */
export interface EchoHost extends NetworkHost {
  readonly mac: string;
  readonly ip: string;
  readonly statistics: EchoHostStatistics;
}

/**
 * Makes a host that answers ARP and ping.
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

  receive(frame: Uint8Array, send: (frame: Uint8Array) => boolean): void {
    if (this.#lossRate > 0 && this.#random() < this.#lossRate) {
      this.statistics.lost++;
      return;
    }
    this.statistics.received++;
    const verdict = this.#judge(frame);
    this.statistics[typeof verdict === 'string' ? verdict : verdict.counter]++;
    if (typeof verdict === 'string') return;
    if (this.#latencyMs > 0) later(this.#latencyMs, () => send(verdict.reply));
    else send(verdict.reply);
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
    if (ipv4.protocol !== IP_PROTOCOL.ICMP || fragment || !sameAddress(ipv4.destination, this.#ipBytes)) {
      return 'ignored';
    }
    return this.#answerIcmp(frame, ipv4.payloadOffset);
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

function inRange(name: string, value: number, max: number): number {
  if (value >= 0 && value <= max) return value;
  throw new UsageError('OPTION_INVALID', `${name} is ${value}, not a number from 0 to ${max}`);
}
