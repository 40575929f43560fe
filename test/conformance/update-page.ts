/** Brings docs/conformance.md up to date: `npm run docs:conformance`. */
import { writeFileSync } from 'node:fs';
import { PAGE_FILE, renderPage } from './page.js';

writeFileSync(PAGE_FILE, renderPage());
