/**
 * Choosing among the features that a device offers (VIRTIO 1.3, 2.2).
 */
import { DeviceError, UsageError } from '../errors.js';
import {
  FEATURE_NAMES,
  featureEntry,
  featureMask,
  isFeatureName,
  type FeatureName,
} from './feature-table.js';

/** What a program may say about features. */
export interface FeatureWishes {
  /** Opening fails if one of these is not negotiated. */
  readonly required?: readonly FeatureName[];
  /** Used where the device offers them; by default all that the driver supports. */
  readonly wanted?: readonly FeatureName[];
  /** These are not negotiated, even where the driver would use them. */
  readonly unwanted?: readonly FeatureName[];
}

/** The outcome of the negotiation. */
export class NegotiatedFeatures {
  /** The bits that the device offers, and those that were agreed on. */
  readonly offeredBits: bigint;
  readonly negotiatedBits: bigint;
  /** Names of what the driver uses where it is offered, by its own choice and the program's. */
  private readonly usable: readonly FeatureName[];

  /** @internal */
  constructor(offeredBits: bigint, negotiatedBits: bigint, usable: readonly FeatureName[]) {
    this.offeredBits = offeredBits;
    this.negotiatedBits = negotiatedBits;
    this.usable = usable;
  }

  /** Whether both sides use the feature. */
  has(name: FeatureName): boolean {
    return (this.negotiatedBits & featureMask(name)) !== 0n;
  }

  /** Names of all that the device offers; a bit that has no name here is given as `bit N`. */
  get offered(): string[] {
    return namesOf(this.offeredBits);
  }

  /** Names of what both sides use. */
  get negotiated(): FeatureName[] {
    return FEATURE_NAMES.filter((name) => this.has(name));
  }

  /** Names of what the driver would have used, had the device offered it. */
  get missing(): FeatureName[] {
    return this.usable.filter((name) => (this.offeredBits & featureMask(name)) === 0n);
  }

  /** Names of what the device offers and the driver supports, but the program did not want. @internal */
  get leftOut(): FeatureName[] {
    return FEATURE_NAMES.filter(
      (name) =>
        featureEntry(name).support !== 'unsupported' &&
        !this.usable.includes(name) &&
        (this.offeredBits & featureMask(name)) !== 0n,
    );
  }
}

/**
 * Chooses the features to negotiate.
 *
 * @throws DeviceError DEVICE_FEATURE_MISSING if a required one is not offered
 */
export function chooseFeatures(offered: bigint, wishes: FeatureWishes = {}): NegotiatedFeatures {
  const required = requiredFeatures(wishes);
  const usable = FEATURE_NAMES.filter((name) => isUsed(name, wishes));
  const chosen = dropUnmetNeeds(usable.reduce((bits, name) => bits | (offered & featureMask(name)), 0n));
  const lacking = required.filter((name) => (chosen & featureMask(name)) === 0n);
  if (lacking.length > 0) throw missingFeatures(lacking, offered);
  return new NegotiatedFeatures(offered, chosen, usable);
}

/**
 * Checks the wishes against the table.
 *
 * @throws UsageError OPTION_INVALID
 */
export function checkFeatureWishes(wishes: FeatureWishes): void {
  const { required = [], wanted = [], unwanted = [] } = wishes;
  for (const name of [...required, ...wanted, ...unwanted]) {
    if (!isFeatureName(name)) throw invalid(`${String(name)} is not the name of a feature`);
  }
  for (const name of [...required, ...wanted]) {
    if (featureEntry(name).support === 'unsupported') throw invalid(`The driver does not support ${name}`);
    if (unwanted.includes(name)) throw invalid(`${name} can not be both wanted and unwanted`);
  }
  for (const name of unwanted) {
    if (featureEntry(name).support === 'required') throw invalid(`The driver can not work without ${name}`);
  }
}

function isUsed(name: FeatureName, { required = [], wanted, unwanted = [] }: FeatureWishes): boolean {
  const { support } = featureEntry(name);
  if (support === 'required' || required.includes(name)) return true;
  return support === 'wanted' && (wanted?.includes(name) ?? true) && !unwanted.includes(name);
}

function requiredFeatures({ required = [] }: FeatureWishes): FeatureName[] {
  return FEATURE_NAMES.filter((name) => featureEntry(name).support === 'required' || required.includes(name));
}

/** A feature whose needs are not met must not be accepted; leaving one out may leave out others in turn. */
function dropUnmetNeeds(chosen: bigint): bigint {
  const kept = FEATURE_NAMES.filter((name) => (chosen & featureMask(name)) !== 0n).filter((name) =>
    (featureEntry(name).needs ?? []).every(
      (need) => isFeatureName(need) && (chosen & featureMask(need)) !== 0n,
    ),
  );
  const bits = kept.reduce((sum, name) => sum | featureMask(name), 0n);
  return bits === chosen ? bits : dropUnmetNeeds(bits);
}

function missingFeatures(lacking: readonly FeatureName[], offered: bigint): DeviceError {
  const legacy = lacking.includes('VIRTIO_F_VERSION_1');
  return new DeviceError(
    'DEVICE_FEATURE_MISSING',
    `The device does not offer ${lacking.join(', ')}; it offers ${namesOf(offered).join(', ') || 'nothing'}`,
    legacy ? { remedy: 'The driver needs a device of VIRTIO 1.0 or later (QEMU: disable-legacy=on).' } : {},
  );
}

function namesOf(bits: bigint): string[] {
  const names: string[] = FEATURE_NAMES.filter((name) => (bits & featureMask(name)) !== 0n);
  const known = FEATURE_NAMES.reduce((sum, name) => sum | featureMask(name), 0n);
  const unknown = bits & ~known;
  for (let bit = 0; unknown >> BigInt(bit) !== 0n; bit += 1) {
    if (((unknown >> BigInt(bit)) & 1n) === 1n) names.push(`bit ${bit}`);
  }
  return names;
}

function invalid(what: string): UsageError {
  return new UsageError('OPTION_INVALID', what, {
    remedy: 'See the table of features in the documentation.',
  });
}
