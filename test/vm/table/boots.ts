/** Shares the rows of the table out among guests. */
import type { VmNic } from '../nic.js';
import type { DeviceRow, MachineKind } from './device-row.js';

/** Slots that a guest has for cards, from 0x10 on: see nic.ts. */
const CARDS = 12;

/** One guest and the rows that it runs. */
export interface Boot {
  readonly machine: MachineKind;
  readonly rows: readonly DeviceRow[];
}

/** The cards of a row, the one that is tried first. */
export const cardsOf = ({ nic, other }: DeviceRow): VmNic[] => (other === undefined ? [nic] : [nic, other]);

function fill(machine: MachineKind, rows: readonly DeviceRow[]): Boot[] {
  const boots: DeviceRow[][] = [];
  let room = 0;
  for (const row of rows) {
    const cards = cardsOf(row).length;
    if (cards > room) {
      boots.push([]);
      room = CARDS;
    }
    boots.at(-1)?.push(row);
    room -= cards;
  }
  return boots.map((share) => ({ machine, rows: share }));
}

/** As few guests as hold all rows, each of one kind of machine. */
export function planBoots(rows: readonly DeviceRow[]): Boot[] {
  const kinds = [...new Set(rows.map(({ machine }) => machine))];
  return kinds.flatMap((kind) =>
    fill(
      kind,
      rows.filter(({ machine }) => machine === kind),
    ),
  );
}
