/** The checks that only some rows have, by name. */
import type { EXTRA_CHECKS, Figures, SuiteCard } from '../../../vm/table/suite.js';
import { checkCrossing } from '../tcp/crossing.js';
import { checkTcp } from '../tcp/tcp-check.js';
import { checkFilters } from './filters.js';
import { checkPairs, checkQueueReset } from './queue-checks.js';
import { checkSiblings } from './second-card.js';
import { checkSteering } from './steering.js';
import type { Station } from './station.js';

type Check = (station: Station, card: SuiteCard) => Promise<Figures>;

export const EXTRAS: Record<(typeof EXTRA_CHECKS)[number], Check> = {
  tcp: (station, card) => checkTcp(station, card, 4),
  tcp6: (station, card) => checkTcp(station, card, 6),
  crossing: checkCrossing,
  pairs: checkPairs,
  siblings: checkSiblings,
  steering: checkSteering,
  filters: checkFilters,
  'queue-reset': checkQueueReset,
};
