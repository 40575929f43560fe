/** What the specification says of drivers, statement by statement: `docs/spec/driver-normative.json`. */
import { readFileSync } from 'node:fs';
import { inRepository } from '../vm/paths.js';

/** One statement of the specification on what a driver must, should or may do. */
export interface Statement {
  /** Area, section and number: `split/virtqueues/1`. */
  readonly id: string;
  /** Headings of the specification, from the chapter down to the section. */
  readonly section: string;
  /** MUST, SHOULD NOT, ... */
  readonly level: string;
  readonly text: string;
}

export interface StatementList {
  readonly source: string;
  readonly statements: readonly Statement[];
}

/** The list that the project keeps. */
export const STATEMENTS_FILE = inRepository('docs', 'spec', 'driver-normative.json');

export function readStatements(file = STATEMENTS_FILE): StatementList {
  return JSON.parse(readFileSync(file, 'utf8')) as StatementList;
}
