/** The receive offloads that the driver can turn off and on (VIRTIO 1.3, 5.1.6.5.8). */
import { SIMULATED_FEATURES, type SimulatedFeature } from '../features.js';
import type { NetRules } from './rules.js';

const OFFLOADS: readonly SimulatedFeature[] = [
  'VIRTIO_NET_F_GUEST_CSUM',
  'VIRTIO_NET_F_GUEST_TSO4',
  'VIRTIO_NET_F_GUEST_TSO6',
  'VIRTIO_NET_F_GUEST_ECN',
  'VIRTIO_NET_F_GUEST_UFO',
  'VIRTIO_NET_F_GUEST_USO4',
  'VIRTIO_NET_F_GUEST_USO6',
];

export class GuestOffloads {
  readonly #rules: NetRules;
  #enabled: bigint;

  /** All that was negotiated is enabled at first. */
  constructor(rules: NetRules) {
    this.#rules = rules;
    this.#enabled = this.available;
  }

  /** The offloads whose features were negotiated, as bits. */
  get available(): bigint {
    return OFFLOADS.filter((name) => this.#rules.has(name)).reduce((bits, name) => bits | bitOf(name), 0n);
  }

  get enabled(): bigint {
    return this.#enabled;
  }

  set(bits: bigint): void {
    this.#enabled = bits;
  }

  /** Whether a feature is in force: negotiated and, if it is such an offload, not turned off. */
  has(feature: SimulatedFeature): boolean {
    if (!this.#rules.has(feature)) return false;
    return !OFFLOADS.includes(feature) || (this.#enabled & bitOf(feature)) !== 0n;
  }
}

function bitOf(feature: SimulatedFeature): bigint {
  return 1n << BigInt(SIMULATED_FEATURES[feature]);
}
