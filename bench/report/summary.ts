/** The main table in short, as README.md has it. */
import type { RecordedSection, Results, Table } from '../result.js';
import { renderTable } from './page.js';

const COLUMNS = ['Case', 'Rings', 'virtio-net', 'DPDK virtio-user', 'ratio'];

/** As Markdown; nothing before it has been measured. */
export function renderSummary({ sections }: Results): string {
  const section = sections.dpdk as RecordedSection | undefined;
  const table = section?.tables.at(0);
  if (section === undefined || table === undefined) return '';
  const { machine, date } = section;
  const where = `${machine.processor}, Node.js ${machine.node}, ${date.slice(0, 10)}`;
  return [
    `This driver and that of DPDK, which is C, on the same backend and the same two processors, in turn. A ratio of 1.00 is as fast as C. ${table.title} (${where}):`,
    renderTable(shortened(table)),
  ].join('\n\n');
}

function shortened({ title, columns, rows }: Table): Table {
  const places = COLUMNS.map((name) => columns.findIndex((column) => column.name === name));
  return {
    title,
    columns: places.map((place) => columns[place]),
    rows: rows.map((row) => places.map((place) => row[place])),
  };
}
