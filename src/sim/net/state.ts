/** All that a driver has set up since the last reset, and what the device needs to act on it. */
import type { ConfigSpace } from '../config-space.js';
import type { QueueCounters } from '../statistics.js';
import { Coalescing } from './coalescing.js';
import { ReceiveFilter } from './filter.js';
import { GuestOffloads } from './guest-offloads.js';
import type { NetRules } from './rules.js';
import { Steering } from './steering.js';

/** What the device can do, whatever is negotiated. */
export interface NetLimits {
  readonly maxPairs: number;
  readonly rssMaxKeySize: number;
  readonly rssMaxTableLength: number;
  readonly hashTypes: number;
  readonly tunnelTypes: number;
  /** Whether the driver gets all frames until it turns promiscuous mode off. */
  readonly promiscuous: boolean;
}

/** What the state is connected to. */
export interface NetSurroundings {
  readonly config: ConfigSpace;
  readonly limits: NetLimits;
  readonly queueCounters: readonly QueueCounters[];
  /** Whether the driver has enabled a queue. */
  readonly isQueueEnabled: (queue: number) => boolean;
  /** Sends the interrupt of a queue that was held back. */
  readonly raise: (queue: number) => void;
}

export class NetState {
  readonly rules: NetRules;
  readonly surroundings: NetSurroundings;
  readonly filter: ReceiveFilter;
  readonly steering: Steering;
  readonly offloads: GuestOffloads;
  readonly coalescing: Coalescing;
  /** How many commands came by the control queue, and how many were carried out. */
  readonly commands = { count: 0, done: 0 };

  constructor(rules: NetRules, surroundings: NetSurroundings) {
    const { config, limits, raise } = surroundings;
    this.rules = rules;
    this.surroundings = surroundings;
    this.filter = new ReceiveFilter(rules, () => config.mac, limits.promiscuous);
    this.steering = new Steering(rules);
    this.offloads = new GuestOffloads(rules);
    this.coalescing = new Coalescing(raise);
  }

  /** How many pairs of queues there are with what was negotiated (5.1.2). */
  get pairCount(): number {
    const several = this.rules.has('VIRTIO_NET_F_MQ') || this.rules.has('VIRTIO_NET_F_RSS');
    return several ? this.surroundings.limits.maxPairs : 1;
  }

  /** The index of the control queue; undefined without one. */
  get controlQueue(): number | undefined {
    return this.rules.has('VIRTIO_NET_F_CTRL_VQ') ? 2 * this.pairCount : undefined;
  }
}
