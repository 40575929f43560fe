/**
 * What a program hands in. The types say what may come; from JavaScript anything does, and what is misspelt or of
 * another kind must be refused in words rather than be taken for something else.
 */
import { UsageError } from '../errors.js';

type UsageCode = ConstructorParameters<typeof UsageError>[0];

/**
 * Checks that a group of named fields has no others, such as misspelt ones, which would silently do nothing.
 *
 * @param what - what the fields belong to, to begin a sentence with
 * @throws UsageError OPTION_INVALID
 */
export function requireFields(what: string, value: unknown, names: readonly string[]): void {
  const remedy = `Give an object with some of ${names.join(', ')}.`;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(`${what} is ${describe(value)}`, remedy);
  }
  const unknown = Object.keys(value).filter((name) => !names.includes(name));
  if (unknown.length > 0) throw invalid(`${what} has no field ${unknown.join(', ')}`, remedy);
}

/** @throws UsageError OPTION_INVALID for what is no array */
export function requireList(what: string, value: unknown): void {
  if (!Array.isArray(value)) throw invalid(`${what} is ${describe(value)}`, 'Give an array.');
}

/** @throws UsageError OPTION_INVALID for what is neither true nor false, such as the text `false`, which counts as true */
export function requireBoolean(what: string, value: unknown): void {
  if (typeof value !== 'boolean') throw invalid(`${what} is ${describe(value)}`, 'Give true or false.');
}

/** @throws UsageError OPTION_INVALID, or with the given code, for what is no Uint8Array */
export function requireBytes(what: string, value: unknown, code: UsageCode = 'OPTION_INVALID'): void {
  if (isBytes(value)) return;
  throw new UsageError(code, `${what} is ${describe(value)}`, { remedy: 'Give a Uint8Array or Buffer.' });
}

/** @throws UsageError OPTION_INVALID for what is neither a signal nor left out */
export function requireSignal(signal: unknown): void {
  if (signal === undefined || Object.prototype.toString.call(signal) === '[object AbortSignal]') return;
  throw invalid(
    `signal is ${describe(signal)}`,
    'Give an AbortSignal: the signal of an AbortController, or AbortSignal.timeout().',
  );
}

/** As long as a timer can run, in milliseconds. */
export const LONGEST_TIMEOUT = 2 ** 31 - 1;

/** @throws UsageError OPTION_INVALID for what is no whole number in the range */
export function checkInteger(name: string, value: number, least: number, most: number): number {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw invalid(`${name} is ${describe(value)}`, `Give a whole number from ${least} to ${most}.`);
  }
  return value;
}

/** By its tag, which is that of a Buffer and of an array from another realm too. */
export function isBytes(value: unknown): value is Uint8Array {
  return Object.prototype.toString.call(value) === '[object Uint8Array]';
}

/** A value in a sentence; never fails, whatever it is. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'function') return 'a function';
  if (typeof value !== 'object' || value === null) return String(value);
  return Array.isArray(value)
    ? 'an array'
    : `an object (${Object.prototype.toString.call(value).slice(8, -1)})`;
}

function invalid(what: string, remedy: string): UsageError {
  return new UsageError('OPTION_INVALID', what, { remedy });
}
