/** The files of the results: bench/results.json, and docs/performance.md with its plots, which is made from it. */
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { inRepository } from '../../test/vm/paths.js';
import type { Results } from '../result.js';
import { drawPlots, PLOT_FOLDER, renderPage } from './page.js';

const RESULTS = inRepository('bench', 'results.json');
const PAGE = inRepository('docs', 'performance.md');
const PLOTS = inRepository('docs', PLOT_FOLDER);

export function readResults(): Results {
  if (!existsSync(RESULTS)) return { sections: {} };
  return JSON.parse(readFileSync(RESULTS, 'utf8')) as Results;
}

export async function writeResults(results: Results): Promise<void> {
  writeFileSync(RESULTS, await formatted(JSON.stringify(results), RESULTS));
}

async function formatted(text: string, path: string): Promise<string> {
  return format(text, { ...(await resolveConfig(path)), filepath: path });
}

export function readPage(): string {
  return readFileSync(PAGE, 'utf8');
}

/** The page as it should be. */
export async function renderedPage(): Promise<string> {
  return formatted(renderPage(readPage(), readResults()), PAGE);
}

/** The plots that there are, by the names of their files. */
export function readPlots(): Map<string, string> {
  if (!existsSync(PLOTS)) return new Map();
  return new Map(readdirSync(PLOTS).map((name) => [name, readFileSync(join(PLOTS, name), 'utf8')]));
}

/** Makes the page and its plots from the results. */
export async function renderDocuments(): Promise<void> {
  writeFileSync(PAGE, await renderedPage());
  rmSync(PLOTS, { recursive: true, force: true });
  const plots = drawPlots(readResults());
  if (plots.size > 0) mkdirSync(PLOTS, { recursive: true });
  for (const [name, text] of plots) writeFileSync(join(PLOTS, name), text);
}
