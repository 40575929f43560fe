/** Brings the tables of README.md up to date with the source: `npm run docs`. */
import { writeFileSync } from 'node:fs';
import { README, readReadme, replaceMarked } from './readme.js';
import { renderTable, TABLES } from './readme-tables.js';

let readme = readReadme();
for (const name of Object.keys(TABLES)) readme = replaceMarked(readme, name, await renderTable(name));
writeFileSync(README, readme);
