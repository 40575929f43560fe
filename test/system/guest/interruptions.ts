/**
 * Interrupts examples/ping.js again and again, each time a little later, and looks what became of the card.
 *
 *     interruptions.mjs <pci-address> <signal> <rounds>
 */
import { spawn, spawnSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { report } from '../../vm/guest/report.js';

const [address, signal, rounds] = process.argv.slice(2);
const ping = ['examples/ping.js', address, '10.0.2.2', '--interval', '0.01'];

interface End {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
}

/** The first sign of a reply, the time of which tells how long everything before takes on this machine. */
const REPLY = 'bytes from';

/** Runs ping and sends it the signal when `moment` resolves, which is given a promise of the first reply. */
async function interrupted(moment: (reply: Promise<void>) => Promise<unknown>): Promise<End> {
  const child = spawn(process.execPath, ping, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  const reply = new Promise<void>((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data: Buffer) => {
        output += data.toString();
        if (output.includes(REPLY)) resolve();
      });
    }
  });
  const ended = new Promise<End>((resolve) => {
    child.once('close', (code, ending) => resolve({ code, signal: ending, output }));
  });
  await Promise.race([moment(reply), ended]);
  child.kill(signal as NodeJS.Signals);
  return ended;
}

function driver(): string {
  try {
    return basename(readlinkSync(`/sys/bus/pci/devices/${address}/driver`));
  } catch {
    return 'none';
  }
}

/** What a run ended in, in a few words. */
function kindOf({ code, signal: ending, output }: End): string {
  if (ending !== null) return `killed by ${ending}`;
  const summary = /packets transmitted, (\d+) received/.exec(output);
  if (summary === null) return output === '' ? `status ${code}, silent` : `status ${code}: ${output}`;
  return `status ${code} with ${summary[1] === '0' ? 'no' : 'some'} replies`;
}

const ends: Record<string, number> = {};
const drivers: Record<string, number> = {};

function count(end: End): void {
  const kind = kindOf(end);
  ends[kind] = (ends[kind] ?? 0) + 1;
  const after = driver();
  drivers[after] = (drivers[after] ?? 0) + 1;
}

// The first round waits for a reply, the others are spread over the time that this took, and half as much again.
const began = performance.now();
count(await interrupted((reply) => reply));
const reach = 1.5 * (performance.now() - began);
for (let round = 1; round < Number(rounds); round += 1) {
  count(await interrupted(() => sleep((reach * round) / Number(rounds))));
}
report('ends', ends);
report('drivers', drivers);
const last = spawnSync(process.execPath, [...ping, '--count', '2'], { encoding: 'utf8' });
report('afterwards', last.status === 0 ? 'works' : last.stderr);
