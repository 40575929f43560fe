/** Why a statement has no test that proves it: `docs/spec/not-proved.json`. */
import { readFileSync } from 'node:fs';
import { featureEntry, isFeatureName } from '../../src/net/feature-table.js';
import { inRepository } from '../vm/paths.js';

/** The kinds of reasons, and what each of them stands for. */
export const CATEGORIES = {
  'not-negotiated': 'the driver never negotiates the feature that the statement presupposes',
  permission: 'a MAY that the driver does not make use of',
  elsewhere: 'the statement is about another transport or another type of device',
  'by-construction': 'nothing in the code can do otherwise',
  'not-met': 'the driver does not do what the statement recommends',
} as const;

export type Category = keyof typeof CATEGORIES;

export interface Reason {
  readonly category: Category;
  /** Of `not-negotiated`, and of `not-met` where it is about features: those, none of which the driver negotiates. */
  readonly features?: readonly string[];
  /** One sentence. */
  readonly why: string;
}

export interface ReasonList {
  /** Features of the specification that the feature table does not know, so that they are never negotiated. */
  readonly unknownFeatures: readonly string[];
  /** By the id of the statement. */
  readonly reasons: Readonly<Record<string, Reason>>;
}

export const REASONS_FILE = inRepository('docs', 'spec', 'not-proved.json');

export function readReasons(): ReasonList {
  return JSON.parse(readFileSync(REASONS_FILE, 'utf8')) as ReasonList;
}

/** What is wrong with a reason for a statement of that level; undefined if nothing is. */
export function flawOf(
  { category, features, why }: Reason,
  level: string,
  unknownFeatures: readonly string[],
): string | undefined {
  if (!Object.hasOwn(CATEGORIES, category)) return `the category ${category} does not exist`;
  if (!/^\S.*\.$/.test(why)) return 'the reason is no sentence';
  if (category === 'permission' && level !== 'MAY') return `a ${level} is no permission`;
  if (category === 'not-met' && !level.startsWith('SHOULD')) return `a ${level} has to be met`;
  if (features === undefined) return category === 'not-negotiated' ? 'the feature is not named' : undefined;
  if (features.length === 0) return 'the feature is not named';
  if (!['not-negotiated', 'not-met'].includes(category))
    return 'only a feature that is not negotiated is named';
  return features.map((name) => flawOfFeature(name, unknownFeatures)).find((flaw) => flaw !== undefined);
}

function flawOfFeature(name: string, unknownFeatures: readonly string[]): string | undefined {
  if (isFeatureName(name)) {
    const { support } = featureEntry(name);
    return support === 'unsupported' ? undefined : `${name} is negotiated: it is ${support}`;
  }
  return unknownFeatures.includes(name) ? undefined : `the feature ${name} does not exist`;
}
