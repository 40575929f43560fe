/** The part of README.md that is made from the results. */
import { writeFileSync } from 'node:fs';
import { README, readReadme, replaceMarked } from '../../test/package/readme.js';
import { renderTable } from '../../test/package/readme-tables.js';

const PART = 'performance';

export async function renderReadme(): Promise<void> {
  writeFileSync(README, replaceMarked(readReadme(), PART, await renderTable(PART)));
}
