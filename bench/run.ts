/** `npm run bench`: see arguments.ts for its command line. */
import { writeFileSync } from 'node:fs';
import { VmError } from '../test/vm/vm-error.js';
import { BenchError } from './bench-error.js';
import { parseArguments, USAGE, type BenchArguments } from './arguments.js';
import { compilePrograms } from './lib/compile.js';
import { describeMachine, describeSource, withPeers } from './lib/machine.js';
import { formatSeconds, Progress } from './lib/progress.js';
import { printSection } from './report/print.js';
import { readResults, renderDocuments, writeResults } from './report/files.js';
import { renderReadme } from './report/readme.js';
import type { RecordedSection } from './result.js';
import type { Section } from './section.js';
import { SECTIONS } from './sections/index.js';

const USAGE_STATUS = 2;
/** Something failed that was measured; the rest is there. */
const FAILED_STATUS = 1;
/** By convention a program that a signal ended has 128 and the signal's number as its status. */
const SIGNAL_STATUS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

const say = (text: string): void => void process.stderr.write(`${text}\n`);

function selected({ quick, only }: BenchArguments): Section[] {
  // The name of one section may be part of that of another.
  const matches = (name: string, words: string): boolean =>
    SECTIONS.some((section) => section.name === words) ? name === words : name.includes(words);
  const isWanted = (name: string): boolean =>
    only.length === 0 || only.some((words) => matches(name, words.toLowerCase()));
  // Who names a section gets it, in its short form where the run is to be quick.
  const inQuick = ({ quick: isQuick = false }: Section): boolean => !quick || only.length > 0 || isQuick;
  const sections = SECTIONS.filter((section) => isWanted(section.name) && inQuick(section));
  if (sections.length === 0) throw new BenchError('No section has such a name; see --list.');
  return sections;
}

interface Outcome {
  readonly results: Readonly<Record<string, RecordedSection>>;
  /** Titles of the sections that could not be measured. */
  readonly failed: readonly string[];
}

async function runSections(
  sections: readonly Section[],
  options: BenchArguments,
  signal: AbortSignal,
): Promise<Outcome> {
  const { quick, rounds } = options;
  const plan = sections.map(({ title, seconds }) => ({ title, seconds: seconds({ quick, rounds }) }));
  say(`About ${formatSeconds(plan.reduce((sum, { seconds }) => sum + seconds, 0))}.`);
  const progress = new Progress(plan);
  const results: Record<string, RecordedSection> = {};
  const failed: string[] = [];
  // What was compiled is of this moment, whatever is committed meanwhile.
  const source = describeSource();
  for (const section of sections) {
    const began = performance.now();
    const steps = progress.beginSection();
    const run = section.run({ quick, rounds, signal, steps });
    const result = await run.catch(failureOf).finally(() => progress.clear());
    signal.throwIfAborted();
    if (result instanceof Error) {
      say(`${section.title} could not be measured. ${result.message}`);
      failed.push(section.title);
      continue;
    }
    const seconds = Math.round((performance.now() - began) / 1000);
    const circumstances = { machine: describeMachine(), measured: withPeers(source) };
    results[section.name] = { ...result, date: new Date().toISOString(), rounds, seconds, ...circumstances };
    process.stdout.write(printSection(result));
    // One at a time: what was measured is kept, whatever comes of the rest.
    if (options.save) await save(section.name, results[section.name]);
  }
  return { results, failed };
}

/** What is said of a section instead of its results; a mistake of ours ends the run. */
function failureOf(error: unknown): Error {
  if (error instanceof BenchError || error instanceof VmError) return error;
  throw error;
}

/** Says what of the files this run has not measured. */
function tellKept(results: Readonly<Record<string, RecordedSection>>): void {
  const kept = Object.values(readResults().sections).filter(({ title }) =>
    Object.values(results).every((each) => each.title !== title),
  );
  if (kept.length === 0) return;
  const list = kept.map(({ title, date }) => `${title} (${date.slice(0, 10)})`).join(', ');
  say(`Kept from earlier runs, as the page says at each: ${list}.`);
}

async function save(name: string, section: RecordedSection): Promise<void> {
  const { sections } = readResults();
  const known = SECTIONS.map((each) => each.name);
  const all = { ...sections, [name]: section };
  const ordered = known.flatMap((key) => (key in all ? [[key, all[key]] as const] : []));
  await writeResults({ sections: Object.fromEntries(ordered) });
  await renderAll();
}

async function renderAll(): Promise<void> {
  await renderDocuments();
  await renderReadme();
}

async function measure(options: BenchArguments): Promise<number> {
  const sections = selected(options);
  const controller = new AbortController();
  /** Of the signal that ended the run. */
  let status = 0;
  for (const [name, value] of Object.entries(SIGNAL_STATUS)) {
    process.on(name, () => {
      status = value;
      controller.abort();
    });
  }
  const began = performance.now();
  try {
    await compilePrograms();
    const { results, failed } = await runSections(sections, options, controller.signal);
    if (options.save) tellKept(results);
    if (options.output !== undefined) writeFileSync(options.output, JSON.stringify({ sections: results }));
    say(`${formatSeconds((performance.now() - began) / 1000)} in all.`);
    return failed.length === 0 ? 0 : FAILED_STATUS;
  } catch (error) {
    // Whatever broke off did so because it was told to.
    if (status === 0) throw error;
    return status;
  }
}

async function main(): Promise<number> {
  const options = parseArguments(process.argv.slice(2));
  switch (options.action) {
    case 'help':
      process.stdout.write(USAGE);
      return 0;
    case 'list':
      process.stdout.write(SECTIONS.map(({ name, title }) => `${name.padEnd(16)}${title}\n`).join(''));
      return 0;
    case 'render':
      await renderAll();
      return 0;
    case 'run':
      return measure(options);
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof BenchError)) throw error;
  say(error.message);
  process.exitCode = USAGE_STATUS;
}
