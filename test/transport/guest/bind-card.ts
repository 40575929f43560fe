/** In the guest: takes a card from the real kernel's driver and gives it back, in each state it can be in. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { SILENT } from '../../../src/log.js';
import { bindToVfio } from '../../../src/pci/bind.js';
import { findPciDevice } from '../../../src/pci/sysfs.js';
import { failureOf, report } from '../../vm/guest/report.js';

const CARD = '0000:00:10.0';
const DRIVERLESS = '0000:00:11.0';
const NOBODY = 65534;
const run = promisify(execFile);

async function state(address: string): Promise<object> {
  const { driver, driverOverride, interfaces, hasHiddenInterface } = await findPciDevice(address);
  return { driver: driver ?? null, driverOverride: driverOverride ?? null, interfaces, hasHiddenInterface };
}

async function interfaceName(): Promise<string> {
  // The network driver probes the card after the bus driver has: its interface may come a moment later.
  for (;;) {
    const first = (await findPciDevice(CARD)).interfaces.at(0);
    if (first !== undefined) return first.name;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function takeAndGiveBack(name: string, address: string, takeOver = false): Promise<void> {
  const binding = await bindToVfio(address, { log: SILENT, takeOver });
  report(`${name} taken`, { ...(await state(address)), previous: binding.previousDriver ?? null });
  await binding.restore();
  if (binding.previousDriver !== undefined) await interfaceName();
  report(`${name} given back`, await state(address));
}

/** What an administrator does with a card that a program did not give back. */
async function probeAnew(): Promise<void> {
  await bindToVfio(CARD, { log: SILENT });
  await writeFile('/sys/bus/pci/drivers/vfio-pci/unbind', CARD);
  await writeFile('/sys/bus/pci/drivers_probe', CARD);
  await interfaceName();
  report('card of a killed program probed anew', await state(CARD));
}

report('before', await state(CARD));
await takeAndGiveBack('idle card', CARD);
await probeAnew();
await takeAndGiveBack('driverless card', DRIVERLESS);

await run('ip', ['link', 'set', await interfaceName(), 'up']);
report('refusal of a card that is up', await failureOf(bindToVfio(CARD, { log: SILENT })));
report('card that is up after the refusal', await state(CARD));
await takeAndGiveBack('card that was up', CARD, true);

process.seteuid?.(NOBODY);
report('refusal of a user without rights', await failureOf(bindToVfio(DRIVERLESS, { log: SILENT })));
process.seteuid?.(0);
report('driverless card after the refusal', await state(DRIVERLESS));

const holder = spawn('unshare', ['-n', 'sleep', '600']);
await once(holder, 'spawn');
const moved = await (async () => {
  // The namespace is a new one only once unshare has run.
  for (;;) {
    const link = await run('readlink', [`/proc/${holder.pid ?? 0}/ns/net`]);
    const own = await run('readlink', ['/proc/self/ns/net']);
    if (link.stdout !== own.stdout) break;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return run('ip', ['link', 'set', await interfaceName(), 'netns', String(holder.pid)]);
})();
report('moving an interface away', moved.stderr);
report('card whose interface was moved away', await state(CARD));
report(
  'refusal of a card whose interface was moved away',
  await failureOf(bindToVfio(CARD, { log: SILENT })),
);
holder.kill('SIGKILL');
await once(holder, 'exit');
