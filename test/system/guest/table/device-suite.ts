/**
 * Takes one card through the checks of the table, and reports each as a line of JSON.
 *
 *     device-suite.mjs <file with a SuiteCard>
 */
import { readFileSync } from 'node:fs';
import { NetDevice } from 'virtio-net';
import type { CheckName, CheckReport, Figures, SuiteCard } from '../../../vm/table/suite.js';
import {
  checkBytes,
  checkFeatures,
  checkLink,
  checkOpen,
  checkPing,
  checkReset,
  checkRestart,
} from './common-checks.js';
import { checkClose, checkKernel, checkUnopened, holdingsNow } from './afterwards.js';
import { EXTRAS } from './extra-checks.js';
import { Station } from './station.js';

const card = JSON.parse(readFileSync(process.argv[2], 'utf8')) as SuiteCard;

/** The driver says in its log which way it reaches the card. */
let transport = '';
const logger = {
  debug: () => undefined,
  info: (fields: object) => (transport = 'transport' in fields ? String(fields.transport) : transport),
  warn: () => undefined,
  error: () => undefined,
};

let device: NetDevice | undefined;
/** Whether a check has failed in a way that leaves nothing for the others to do. */
let broken: string | undefined;

function report(check: CheckName, passed: boolean, figures: Figures, reason?: string): void {
  const line: CheckReport = {
    row: card.row,
    check,
    passed,
    figures,
    ...(reason === undefined ? {} : { reason }),
  };
  console.log(JSON.stringify(line));
}

async function run(check: CheckName, action: () => Promise<Figures>): Promise<void> {
  if (!card.checks.includes(check)) return;
  if (broken !== undefined) {
    report(check, false, {}, `not reached: ${broken}`);
    return;
  }
  try {
    report(check, true, await action());
  } catch (error) {
    const { code } = error as { code?: string };
    const reason =
      error instanceof Error ? (code === undefined ? error.message : `${code}: ${error.message}`) : '?';
    report(check, false, {}, reason);
    if (device?.state !== 'running') broken = `${check} failed`;
  }
}

async function opened(station: Station): Promise<void> {
  await run('open', () => checkOpen(station));
  await run('features', () => checkFeatures(station, card, transport));
  await run('ping', () => checkPing(station));
  await run('bytes', () => checkBytes(station, card));
  await run('link', () => checkLink(station, card));
  await run('restart', () => checkRestart(station));
  for (const [name, check] of Object.entries(EXTRAS)) {
    await run(name as CheckName, () => check(station, card));
  }
  await run('reset', () => checkReset(station));
}

// The first use of standard output opens a file of its own, which stays.
console.log(`holding ${Object.keys(card.options).join(' ')}`);
const AFTERWARDS = new Set<CheckName>(['close', 'kernel']);
const nothing = (): Promise<Figures> => Promise.resolve({});

const before = await holdingsNow();
try {
  device = await NetDevice.open(card.address, { logger, ...card.options });
} catch (error) {
  await run('open', () => {
    throw error;
  });
}
if (device === undefined) {
  for (const check of card.checks) if (!AFTERWARDS.has(check) && check !== 'open') await run(check, nothing);
} else await opened(new Station(device, card.wire, card.options.interrupts === false));
broken = undefined;
await run('close', () =>
  device === undefined ? checkUnopened(card, before) : checkClose(device, card, before),
);
await run('kernel', () => checkKernel(card));
process.exit();
