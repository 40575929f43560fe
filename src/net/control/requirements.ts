/** What a setting of the card asks for before the device sees anything of it. */
import { UsageError } from '../../errors.js';
import { describe } from '../arguments.js';
import { featureEntry, type FeatureName } from '../feature-table.js';
import type { NegotiatedFeatures } from '../features.js';

/**
 * Checks that features were negotiated.
 *
 * @param what - what needs them, to begin a sentence with
 * @throws UsageError FEATURE_NOT_NEGOTIATED
 */
export function requireFeatures(
  features: NegotiatedFeatures,
  what: string,
  ...names: readonly FeatureName[]
): void {
  const lacking = names.find((name) => !features.has(name));
  if (lacking === undefined) return;
  throw new UsageError('FEATURE_NOT_NEGOTIATED', `${what} needs ${lacking}, which was not negotiated`, {
    remedy: remedyFor(features, lacking),
  });
}

function remedyFor(features: NegotiatedFeatures, name: FeatureName): string {
  if (!features.offered.includes(name)) return 'The device does not offer it.';
  const entry = featureEntry(name);
  if (entry.support === 'unsupported') return `The driver does not support it. ${entry.why}`;
  return `Open the device with { features: { extra: ['${name}'] } }, and do not leave it out.`;
}

/** @throws UsageError OPTION_INVALID */
export function requireInteger(what: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw invalid(`${what} is ${describe(value)}`, `Give a whole number from ${least} to ${most}.`);
}

/** @throws UsageError OPTION_INVALID for what is neither, as may come from JavaScript */
export function requireDirection(direction: string): void {
  if (direction === 'receive' || direction === 'transmit') return;
  throw invalid(`${describe(direction)} is no direction`, 'Give receive or transmit.');
}

export function invalid(what: string, remedy: string): UsageError {
  return new UsageError('OPTION_INVALID', what, { remedy });
}
