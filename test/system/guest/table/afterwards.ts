/** The checks that come once the card is closed. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import type { NetDevice } from 'virtio-net';
import type { Figures, SuiteCard } from '../../../vm/table/suite.js';
import { holdings, type Holdings } from '../holdings.js';

export const holdingsNow = holdings;

const folderOf = (address: string): string => `/sys/bus/pci/devices/${address}`;

function driverOf(address: string): string {
  try {
    return basename(readlinkSync(`${folderOf(address)}/driver`));
  } catch {
    return 'none';
  }
}

/** @throws if this process holds more than before, or the card does not have the driver that it had */
export async function checkUnopened({ address, driver }: SuiteCard, before: Holdings): Promise<Figures> {
  const after = await holdings();
  if (JSON.stringify(after) !== JSON.stringify(before)) {
    throw new Error(`held before: ${JSON.stringify(before)}, afterwards: ${JSON.stringify(after)}`);
  }
  if (driverOf(address) !== driver) throw new Error(`the driver is ${driverOf(address)}, and was ${driver}`);
  return { driver };
}

export async function checkClose(device: NetDevice, card: SuiteCard, before: Holdings): Promise<Figures> {
  const during = await holdings();
  if (during.files.length <= before.files.length) throw new Error('an open device holds no files');
  await device.close();
  return checkUnopened(card, before);
}

function run(program: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${[program, ...args].join(' ')}: ${stdout.slice(-300)}${stderr}`);
  return stdout;
}

/** The name of the interface that the kernel's driver makes of the card. */
function interfaceOf(address: string): string {
  const folder = readdirSync(folderOf(address)).find((name) => /^virtio\d/.test(name)) ?? 'virtio';
  const [name] = readdirSync(`${folderOf(address)}/${folder}/net`);
  return name;
}

/** The kernel's driver exchanges echoes through the card that it has got back. */
export function checkKernel({ address, wire }: SuiteCard): Promise<Figures> {
  const name = interfaceOf(address);
  try {
    run('ip', 'address', 'add', `${wire.cardIp}/24`, 'dev', name);
    run('ip', 'link', 'set', name, 'up');
    const output = run('ping', '-c', '2', '-i', '0.1', '-W', '10', '-I', name, wire.peerIp);
    return Promise.resolve({ received: Number(/(\d+) packets received/.exec(output)?.[1]) });
  } finally {
    run('ip', 'link', 'set', name, 'down');
    run('ip', 'address', 'flush', 'dev', name);
  }
}
