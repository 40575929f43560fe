/** Which receive queue a frame goes to (VIRTIO 1.3, 5.1.6.5.6, 5.1.6.5.7). */
import { ipPacketOf } from './dissect.js';
import { ALL_HASH_TYPES, hashFrame, portsOf, type FrameHash, type HashSettings } from './hashing.js';
import type { NetRules } from './rules.js';

/** How many flows are remembered; the one that was silent for the longest time is forgotten first. */
const MOST_FLOWS = 4096;
/** What flows that were never seen are spread with. */
const SPREADING: HashSettings = {
  types: ALL_HASH_TYPES,
  key: Uint8Array.from({ length: 40 }, (_, index) => (index * 0x9d + 0x6d) & 0xff),
  tunnelTypes: 0,
};
const NO_KEY = new Uint8Array(0);

/** The parameters of receive-side scaling; queues are told by the number of their pair. */
export interface RssSettings {
  readonly table: readonly number[];
  readonly unclassified: number;
  readonly transmitPairs: number;
}

/** Where a frame goes. */
export interface Target {
  readonly pair: number;
  /** The hash to report; undefined where none was calculated, or none is to be. */
  readonly hash: FrameHash | undefined;
}

export class Steering {
  readonly #rules: NetRules;
  readonly #flows = new Map<string, number>();
  #pairs = 1;
  #rss: RssSettings | undefined;
  #types = 0;
  #key: Uint8Array = NO_KEY;
  #tunnelTypes = 0;

  constructor(rules: NetRules) {
    this.#rules = rules;
  }

  /** How many transmit queues the driver may use. */
  get transmitPairs(): number {
    return this.#rss?.transmitPairs ?? this.#pairs;
  }

  /** Whether it is the driver's table that says which queue a frame goes to. */
  get isFixed(): boolean {
    return this.#rss !== undefined;
  }

  /** Steers by flows from now on, over so many pairs. */
  setPairs(pairs: number): void {
    this.#pairs = pairs;
    this.#rss = undefined;
  }

  /** Steers by hash and table from now on. */
  setRss(settings: RssSettings): void {
    this.#rss = settings;
  }

  setHash(types: number, key: Uint8Array): void {
    this.#types = types;
    this.#key = key;
  }

  setTunnelTypes(types: number): void {
    this.#tunnelTypes = types;
  }

  /** The driver has sent a frame: what comes back of its flow goes to the same pair. */
  learn(frame: Uint8Array, pair: number): void {
    if (this.#pairs === 1) return;
    const flow = flowOf(frame, 'sent');
    if (flow === undefined) return;
    this.#flows.delete(flow);
    this.#flows.set(flow, pair);
    const [oldest] = this.#flows.keys();
    if (this.#flows.size > MOST_FLOWS) this.#flows.delete(oldest);
  }

  targetOf(frame: Uint8Array): Target {
    const hash = hashFrame(frame, { types: this.#types, key: this.#key, tunnelTypes: this.#tunnelTypes });
    const pair = this.#rss === undefined ? this.#pairOfFlow(frame) : pairInTable(this.#rss, hash);
    return { pair, hash: this.#rules.has('VIRTIO_NET_F_HASH_REPORT') ? hash : undefined };
  }

  #pairOfFlow(frame: Uint8Array): number {
    if (this.#pairs === 1) return 0;
    const known = this.#flows.get(flowOf(frame, 'arrived') ?? '');
    if (known !== undefined && known < this.#pairs) return known;
    return (hashFrame(frame, SPREADING)?.value ?? 0) % this.#pairs;
  }
}

function pairInTable({ table, unclassified }: RssSettings, hash: FrameHash | undefined): number {
  return hash === undefined ? unclassified : table[hash.value & (table.length - 1)];
}

/** A name for the flow of a frame, the same for both directions; undefined for what is not IP. */
function flowOf(frame: Uint8Array, direction: 'sent' | 'arrived'): string | undefined {
  const packet = ipPacketOf(frame);
  if (packet === undefined) return undefined;
  const ports = portsOf(frame, packet);
  const ends = [
    [...packet.source, ...(ports?.subarray(0, 2) ?? [])].join('.'),
    [...packet.destination, ...(ports?.subarray(2) ?? [])].join('.'),
  ];
  if (direction === 'arrived') ends.reverse();
  return [packet.protocol ?? '', ...ends].join(' ');
}
