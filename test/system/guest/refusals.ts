/**
 * Asks for what can not be had, in one way after another, and reports the error of each, and what was left behind.
 *
 * Cards: 10.0 for vfio-pci; 11.0 and 11.1 in one group, the latter with the kernel's driver; 12.0 bypasses the IOMMU;
 * 13.0 with the kernel's driver; 14.0 has no interrupt vectors.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readFileSync, readlinkSync, renameSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NetDevice, VirtioNetError, type NetDeviceOptions } from 'virtio-net';
import { holdings } from './holdings.js';
import { report } from '../../vm/guest/report.js';

const CARD = '0000:00:10.0';
const USER = 1000;
const self = fileURLToPath(import.meta.url);

async function failure(address: string, options: NetDeviceOptions = {}): Promise<unknown> {
  try {
    const device = await NetDevice.open(address, options);
    await device.close();
    return 'none';
  } catch (error) {
    return described(error);
  }
}

function described(error: unknown): unknown {
  if (!(error instanceof VirtioNetError)) return String(error);
  const { code, remedy, message } = error;
  return { code, message, remedied: remedy.length > 20 && message.endsWith(remedy) };
}

/** As above, for what shows when the device is started. */
async function started(address: string, options: NetDeviceOptions): Promise<unknown> {
  await using device = await NetDevice.open(address, options);
  return await device.start().then(
    () => 'none',
    (error: unknown) => described(error),
  );
}

function driverOf(address: string): string {
  try {
    return basename(readlinkSync(`/sys/bus/pci/devices/${address}/driver`));
  } catch {
    return 'none';
  }
}

function groupFile(address: string): string {
  return `/dev/vfio/${basename(readlinkSync(`/sys/bus/pci/devices/${address}/iommu_group`))}`;
}

/** Runs one of the cases below in a process of its own, under a shell command such as `ulimit`. */
function elsewhere(name: string, prefix = '', uid = 0): unknown {
  const command = `${prefix} exec "$0" "$1" "$2"`;
  const { stdout, stderr } = spawnSync('sh', ['-c', command, process.execPath, self, name], {
    uid,
    encoding: 'utf8',
  });
  return stdout === '' ? stderr : (JSON.parse(stdout) as unknown);
}

const CASES: Record<string, () => Promise<unknown>> = {
  open: () => failure(CARD),
  large: () => failure(CARD, { poolSize: 8192 }),
  hold: async () => {
    await using device = await NetDevice.open(CARD);
    await device.start();
    console.log('"holding"');
    await new Promise((resolve) => process.stdin.once('end', resolve).resume());
    return 'held';
  },
};

async function heldElsewhere(): Promise<unknown> {
  const holder = spawn(process.execPath, [self, 'hold'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => holder.once('exit', resolve));
  // It says so when it has the card; a probe before would be in its way.
  await Promise.race([once(holder.stdout, 'data'), ended]);
  const seen = await failure(CARD);
  holder.stdin.end();
  await ended;
  return seen;
}

async function all(): Promise<void> {
  const before = await holdings();
  report('no such address', await failure('0000:00:1f.7'));
  report('malformed address', await failure('../../etc'));
  report('not virtio-net', await failure('0000:00:00.0'));
  report('interface up', await failure('0000:00:13.0'));
  report('group not viable', await failure('0000:00:11.0'));
  report('bypasses the IOMMU', await failure('0000:00:12.0', { addressing: 'iova' }));
  report('is given physical addresses', await failure('0000:00:12.0'));
  report('no vectors', await failure('0000:00:14.0'));
  report('vectors where there are none', await started('0000:00:14.0', { interruptMode: 'msix' }));
  report('more queue pairs than there are', await failure(CARD, { queuePairs: 2 }));
  report('feature not offered', await failure(CARD, { features: { required: ['VIRTIO_NET_F_MTU'] } }));
  report('aborted', await failure(CARD, { signal: AbortSignal.abort() }));
  report('in use by another process', await heldElsewhere());
  const first = await NetDevice.open(CARD);
  report('in use by this process', await failure(CARD));
  await first.close();

  report('no permission', elsewhere('open', '', USER));
  spawnSync('chown', [`${USER}`, groupFile(CARD)]);
  report('memlock too low', elsewhere('large', 'ulimit -l 8192;', USER));
  report('an unprivileged user', elsewhere('open', 'ulimit -l 8192;', USER));

  renameSync('/dev/vfio', '/dev/vfio-away');
  report('no /dev/vfio', await failure(CARD));
  renameSync('/dev/vfio-away', '/dev/vfio');
  chmodSync('/dev/vfio/vfio', 0o600);
  report('no permission for the container', elsewhere('open', '', USER));
  chmodSync('/dev/vfio/vfio', 0o666);

  report('nothing is wrong', await failure(CARD));
  report('left behind', JSON.stringify(await holdings()) === JSON.stringify(before));
  const cards = ['10.0', '11.0', '11.1', '12.0', '13.0', '14.0'].map((place) => `0000:00:${place}`);
  report('drivers', cards.map(driverOf));
  report('interfaces', readFileSync('/proc/net/dev', 'utf8').match(/eth\d/g));
}

const [name] = process.argv.slice(2);
if (process.argv.length === 2) {
  report('begin', true);
  await all();
} else console.log(JSON.stringify(await CASES[name]()));
