/** The checks that only some rows have, by name. */
import type { CheckName, Figures, SuiteCard } from '../../../vm/table/suite.js';
import type { Station } from './station.js';

export const EXTRAS: Partial<Record<CheckName, (station: Station, card: SuiteCard) => Promise<Figures>>> = {};
