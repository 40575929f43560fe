/**
 * Choosing among the features that a device offers (VIRTIO 1.3, 2.2).
 */
import { DeviceError, UsageError } from '../errors.js';
import { requireFields, requireList } from './arguments.js';
import {
  FEATURE_NAMES,
  featureEntry,
  featureMask,
  isFeatureName,
  unmetNeeds,
  type FeatureName,
} from './feature-table.js';

/**
 * What a program may say about features. One that is named in `required`, `wanted` or `extra` is refused, with
 * OPTION_INVALID, where the others leave out what it needs.
 */
export interface FeatureWishes {
  /** Opening fails if one of these is not negotiated. */
  readonly required?: readonly FeatureName[];
  /** Used where the device offers them, and no others; by default all but those that are optional. */
  readonly wanted?: readonly FeatureName[];
  /** Used where the device offers them, on top of `wanted` or its default: for those that are optional. */
  readonly extra?: readonly FeatureName[];
  /** These are not negotiated, even where the driver would use them. */
  readonly unwanted?: readonly FeatureName[];
}

const LISTS = ['required', 'wanted', 'extra', 'unwanted'] as const satisfies (keyof FeatureWishes)[];

/** What the transport has to say about the negotiation. */
export interface NegotiationTerms {
  /** The legacy interface: 32 feature bits, and no VIRTIO_F_VERSION_1 (VIRTIO 1.3, 2.2.3). */
  readonly legacy?: boolean;
}

/** The outcome of the negotiation. */
export class NegotiatedFeatures {
  /** The bits that the device offers, and those that were agreed on. */
  readonly offeredBits: bigint;
  readonly negotiatedBits: bigint;
  /** What is wrong with the offer, in sentences; what is wrong in it is not used. */
  readonly oddities: readonly string[];
  /** Names of what the driver uses where it is offered, by its own choice and the program's. */
  private readonly usable: readonly FeatureName[];

  /** @internal */
  constructor(
    offeredBits: bigint,
    negotiatedBits: bigint,
    usable: readonly FeatureName[],
    oddities: readonly string[],
  ) {
    this.offeredBits = offeredBits;
    this.negotiatedBits = negotiatedBits;
    this.usable = usable;
    this.oddities = oddities;
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

  /** Names of what the device offers and the driver would use, but the program did not want. @internal */
  get leftOut(): FeatureName[] {
    return FEATURE_NAMES.filter(
      (name) =>
        featureEntry(name).support === 'wanted' &&
        !this.usable.includes(name) &&
        (this.offeredBits & featureMask(name)) !== 0n,
    );
  }
}

/**
 * Chooses the features to negotiate. A feature that is offered without what it needs is left out.
 *
 * @throws DeviceError DEVICE_FEATURE_MISSING if a required one is not offered, or not with what it needs
 */
export function chooseFeatures(
  offered: bigint,
  wishes: FeatureWishes = {},
  { legacy = false }: NegotiationTerms = {},
): NegotiatedFeatures {
  const bits = legacy ? BigInt.asUintN(32, offered) : offered;
  const usable = FEATURE_NAMES.filter((name) => isOf(name, legacy) && isUsed(name, wishes));
  const chosen = dropUnmetNeeds(usable.reduce((sum, name) => sum | (bits & featureMask(name)), 0n));
  const required = FEATURE_NAMES.filter((name) => isRequired(name, wishes, legacy));
  const lacking = required.filter((name) => (chosen & featureMask(name)) === 0n);
  if (lacking.length > 0) throw missingFeatures(lacking, bits, chosen);
  return new NegotiatedFeatures(bits, chosen, usable, odditiesOf(bits, legacy));
}

/**
 * Checks the wishes against the table.
 *
 * @throws UsageError OPTION_INVALID
 */
export function checkFeatureWishes(wishes: FeatureWishes): void {
  requireFields('The option features', wishes, LISTS);
  for (const list of LISTS) if (wishes[list] !== undefined) requireList(`features.${list}`, wishes[list]);
  const { required = [], wanted = [], extra = [], unwanted = [] } = wishes;
  for (const name of [...required, ...wanted, ...extra, ...unwanted]) {
    if (!isFeatureName(name)) throw invalid(`${String(name)} is not the name of a feature`);
  }
  for (const name of [...required, ...wanted, ...extra]) {
    if (unwanted.includes(name)) throw invalid(`${name} can not be both wanted and unwanted`);
    const entry = featureEntry(name);
    if (entry.support !== 'unsupported') continue;
    throw invalid(`The driver does not support ${name}`, `Leave it out. ${entry.why}`);
  }
  for (const name of unwanted) {
    if (featureEntry(name).support === 'required') throw invalid(`The driver can not work without ${name}`);
  }
  checkNeeds([...required, ...wanted, ...extra], wishes);
}

/** What is asked for without what it needs would never be negotiated, whatever the device offers. */
function checkNeeds(asked: readonly FeatureName[], wishes: FeatureWishes): void {
  const usable = FEATURE_NAMES.filter((name) => isUsed(name, wishes));
  const bits = usable.reduce((sum, name) => sum | featureMask(name), 0n);
  for (const name of asked) {
    const unmet = unmetNeeds(name, bits);
    if (unmet.length === 0) continue;
    const needs = unmet.join(' and ');
    throw invalid(
      `${name} needs ${needs}, which the options leave out`,
      `Ask for ${needs} too, or for neither.`,
    );
  }
}

/** Whether the feature exists on the interface. */
function isOf(name: FeatureName, legacy: boolean): boolean {
  const { only } = featureEntry(name);
  return only === undefined || (only === 'legacy') === legacy;
}

/** Whether the driver uses the feature where it is offered. */
export function isUsed(
  name: FeatureName,
  { required = [], wanted, extra = [], unwanted = [] }: FeatureWishes,
): boolean {
  const { support } = featureEntry(name);
  if (support === 'unsupported') return false;
  if (support === 'required' || required.includes(name) || extra.includes(name)) return true;
  if (unwanted.includes(name)) return false;
  return wanted?.includes(name) ?? support === 'wanted';
}

function isRequired(name: FeatureName, { required = [] }: FeatureWishes, legacy: boolean): boolean {
  return required.includes(name) || (featureEntry(name).support === 'required' && isOf(name, legacy));
}

/** A feature whose needs are not met must not be accepted; leaving one out may leave out others in turn. */
function dropUnmetNeeds(chosen: bigint): bigint {
  const kept = FEATURE_NAMES.filter(
    (name) => (chosen & featureMask(name)) !== 0n && unmetNeeds(name, chosen).length === 0,
  );
  const bits = kept.reduce((sum, name) => sum | featureMask(name), 0n);
  return bits === chosen ? bits : dropUnmetNeeds(bits);
}

/** What no device should offer (VIRTIO 1.3, 2.2.2). */
function odditiesOf(offered: bigint, legacy: boolean): string[] {
  return FEATURE_NAMES.filter((name) => (offered & featureMask(name)) !== 0n).flatMap((name) => {
    const unmet = unmetNeeds(name, offered);
    const alien = isOf(name, legacy) ? [] : [`${name} is offered, which is of the legacy interface`];
    return unmet.length === 0 ? alien : [`${name} is offered without ${unmet.join(' and ')}`, ...alien];
  });
}

function missingFeatures(lacking: readonly FeatureName[], offered: bigint, chosen: bigint): DeviceError {
  const isOffered = (name: FeatureName): boolean => (offered & featureMask(name)) !== 0n;
  const absent = lacking.filter((name) => !isOffered(name)).join(', ');
  const unmet = lacking
    .filter(isOffered)
    .map((name) => `${name} needs ${unmetNeeds(name, chosen).join(' and ')}, which was not negotiated`);
  const offer = `it offers ${namesOf(offered).join(', ') || 'nothing'}`;
  return new DeviceError(
    'DEVICE_FEATURE_MISSING',
    [...(absent === '' ? [] : [`The device does not offer ${absent}`]), ...unmet, offer].join('; '),
    lacking.includes('VIRTIO_F_VERSION_1')
      ? {
          remedy:
            'A device with a modern interface must offer that: it is at fault (QEMU: disable-modern=off).',
        }
      : {},
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

function invalid(what: string, remedy = 'See the table of features in the documentation.'): UsageError {
  return new UsageError('OPTION_INVALID', what, { remedy });
}
