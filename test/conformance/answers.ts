/** Puts statements, proofs and reasons together: each statement has one answer. */
import { isFeatureName } from '../../src/net/feature-table.js';
import type { Proof } from './proofs.js';
import { flawOf, type Reason, type ReasonList } from './reasons.js';
import type { Statement } from './statements.js';

/** A statement with the tests that prove it, or with the reason why there are none. */
export interface Answer {
  readonly statement: Statement;
  readonly proofs: readonly Proof[];
  readonly reason: Reason | undefined;
}

/**
 * Answers every statement.
 *
 * @throws Error that lists all that is wrong: ids that are unknown, statements with no answer or with two, and
 *   reasons that do not hold
 */
export function answerAll(
  statements: readonly Statement[],
  proofs: readonly Proof[],
  { reasons, unknownFeatures }: ReasonList,
): Answer[] {
  const answers = statements.map((statement) => ({
    statement,
    proofs: proofs.filter(({ proves }) => proves.includes(statement.id)),
    reason: Object.hasOwn(reasons, statement.id) ? reasons[statement.id] : undefined,
  }));
  const flaws = [
    ...unknownIds(statements, proofs, reasons),
    ...unknownFeatures.filter(isFeatureName).map((name) => `${name} is a feature that the driver knows`),
    ...answers.flatMap((answer) => flawsOfAnswer(answer, unknownFeatures)),
  ];
  if (flaws.length > 0) throw new Error(`The statements are not answered:\n${flaws.join('\n')}`);
  return answers;
}

function unknownIds(
  statements: readonly Statement[],
  proofs: readonly Proof[],
  reasons: ReasonList['reasons'],
): string[] {
  const known = new Set(statements.map(({ id }) => id));
  const named = [
    ...proofs.flatMap(({ file, proves }) => proves.map((id) => [id, file])),
    ...Object.keys(reasons).map((id) => [id, 'the list of reasons']),
  ];
  return named
    .filter(([id]) => !known.has(id))
    .map(([id, where]) => `${id}, named in ${where}, does not exist`);
}

function flawsOfAnswer({ statement, proofs, reason }: Answer, unknownFeatures: readonly string[]): string[] {
  const { id, level } = statement;
  if (reason === undefined) return proofs.length > 0 ? [] : [`${id}: there is no test and no reason`];
  if (proofs.length > 0) return [`${id}: there is a reason, although ${proofs[0].file} proves it`];
  const flaw = flawOf(reason, level, unknownFeatures);
  return flaw === undefined ? [] : [`${id}: ${flaw}`];
}
