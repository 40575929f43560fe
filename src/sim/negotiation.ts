/** Agreeing on features, from the device's side (VIRTIO 1.3, 2.2, 3.1). */
import { STATUS } from '../transport/transport.js';
import { canWorkWith, forbiddenChoice, hasFeature, type SimulatedFeature } from './features.js';
import type { StatusRegister } from './status.js';
import { DriverViolation } from './violation.js';

export interface NegotiationOptions {
  readonly offered: bigint;
  /** Says no to features that the device could work with; for tests. */
  readonly acceptFeatures: (features: bigint) => boolean;
  /** Whether the device has the legacy interface alone. */
  readonly legacy: boolean;
}

export class Negotiation {
  readonly #options: NegotiationOptions;
  #chosen = 0n;
  #settled = false;

  constructor(options: NegotiationOptions) {
    this.#options = options;
  }

  /** What the driver chose, whether or not that is agreed on by now. */
  get chosen(): bigint {
    return this.#chosen;
  }

  /** Whether the features are agreed on. */
  get isSettled(): boolean {
    return this.#settled;
  }

  /** Whether a feature was negotiated. */
  has(feature: SimulatedFeature): boolean {
    return this.#settled && hasFeature(this.#chosen, feature);
  }

  reset(): void {
    this.#chosen = 0n;
    this.#settled = false;
  }

  /** @throws DriverViolation where it is not the time to choose */
  choose(features: bigint, status: StatusRegister): void {
    if (!status.has(STATUS.DRIVER)) throw new DriverViolation('features were written before DRIVER was set');
    if (status.has(STATUS.FEATURES_OK)) throw new DriverViolation('features were written after FEATURES_OK');
    if (this.#settled) throw new DriverViolation('features were written after a queue was enabled');
    this.#chosen = features;
  }

  /**
   * Whether the device can agree. A refusal is the answer to a forbidden choice too: the driver is to see it, not a
   * broken device.
   *
   * @param record - told of the rule that the driver broke with its choice
   */
  accepts(record: (violation: string) => void): boolean {
    const { offered, acceptFeatures } = this.#options;
    const forbidden = forbiddenChoice(offered, this.#chosen);
    if (forbidden !== undefined) record(forbidden);
    return forbidden === undefined && canWorkWith(offered, this.#chosen) && acceptFeatures(this.#chosen);
  }

  /**
   * The features stay what they are from now on. A legacy device has no way to refuse them.
   *
   * @throws DriverViolation for a forbidden choice at a legacy device
   */
  settle(): void {
    const { legacy, offered } = this.#options;
    const forbidden = legacy ? forbiddenChoice(offered, this.#chosen) : undefined;
    if (forbidden !== undefined) throw new DriverViolation(forbidden);
    this.#settled = true;
  }
}
