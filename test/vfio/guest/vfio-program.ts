/**
 * Opens real devices through VFIO in a guest, in one way for each scenario, and prints what came of it as a
 * line of JSON. Cards: 10.0 alone in its group, 11.0 in one group with 11.1, which the kernel drives.
 */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parentPort, Worker } from 'node:worker_threads';
import { setTimeout as sleep } from 'node:timers/promises';
import { VirtioNetError } from '../../../src/errors.js';
import { SILENT } from '../../../src/log.js';
import type { PciFunction } from '../../../src/pci/pci-function.js';
import { openVfioFunction } from '../../../src/vfio/index.js';
import { TransmitProbe } from './virtio-registers.js';

const CARD = '0000:00:10.0';
/** Behind a PCI Express port. */
const EXPRESS_CARD = '0000:01:00.0';
const SHARING_CARD = '0000:00:11.0';
const USER = 1000;
const PROGRAM = fileURLToPath(import.meta.url);

const open = (address = CARD): PciFunction => openVfioFunction(address, { log: SILENT });

function attempt(action: () => unknown): unknown {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof VirtioNetError)) return String(error);
    return { code: error.code as string, message: error.message, errno: error.errno };
  }
}

const readStatus = (name: string): number =>
  Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);

/** What must be the same before and after. Mappings are counted where a driver makes them. */
function holdings(): Record<string, number> {
  const maps = readFileSync('/proc/self/maps', 'utf8').split('\n');
  return {
    files: readdirSync('/proc/self/fd').length,
    shared: maps.filter((line) => line.includes('/dev/zero (deleted)')).length,
    bars: maps.filter((line) => line.includes('vfio')).length,
    VmLck: readStatus('VmLck'),
    VmPin: readStatus('VmPin'),
  };
}

function groupFile(address: string): string {
  return `/dev/vfio/${basename(readlinkSync(`/sys/bus/pci/devices/${address}/iommu_group`))}`;
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !condition(); i++) await sleep(10);
}

/** One life of the driver: a frame out of the transmit queue, by DMA, announced by MSI-X. */
async function useOnce(): Promise<Record<string, unknown>> {
  const card = open();
  card.enable();
  const interrupts = [0, 0];
  card.enableMsix([() => (interrupts[0] += 1), () => (interrupts[1] += 1)]);
  const probe = new TransmitProbe(card);
  const status = probe.start(1);
  probe.send();
  await until(() => interrupts[1] > 0);
  const result = { status, used: probe.used(), interrupts, allocated: card.memory.allocatedBytes };
  probe.reset();
  card.close();
  return result;
}

function lifecycle(): unknown {
  const card = open();
  const identity = card.readConfig(0, 4);
  const sizes = Array.from({ length: 6 }, (_, bar) => card.barSize(bar));
  const undecoded = attempt(() => {
    card.writeConfig(4, 2, 0);
    return card.openBar(4).read(0, 4);
  });
  card.enable();
  const command = card.readConfig(4, 2) & 7;
  const probe = new TransmitProbe(card);
  const features = probe.featuresHigh() & 3;
  const address = probe.region.addressOf(100);
  const view = new Uint8Array(probe.region.buffer);
  const during = holdings();
  const wasReset = card.reset();
  const commandAfterReset = card.readConfig(4, 2) & 7;
  card.disable();
  const disabled = card.readConfig(4, 2) & 7;
  const { bar, region } = probe;
  card.close();
  card.close();
  return {
    identity,
    configSize: card.configSize,
    sizes,
    vectors: card.msixVectors,
    undecoded,
    command,
    features,
    address,
    during,
    wasReset,
    commandAfterReset,
    disabled,
    afterClose: {
      bar: attempt(() => bar.read(0, 4)),
      config: attempt(() => card.readConfig(0, 4)),
      allocate: attempt(() => card.memory.allocate(4096)),
      enableMsix: attempt(() => card.enableMsix([() => undefined])),
      address: attempt(() => region.addressOf(0)),
      length: view.length,
      allocated: card.memory.allocatedBytes,
    },
  };
}

async function rounds(): Promise<unknown> {
  const first = await useOnce();
  const before = holdings();
  const failures: unknown[] = [];
  for (let i = 0; i < 200; i++) {
    const result = await useOnce();
    if (JSON.stringify(result) !== JSON.stringify(first)) failures.push({ round: i, result });
  }
  return { first, failures, before, after: holdings() };
}

/** A function-level reset, of the card that can: its status begins at 0 again, and it stays usable. */
function reset(): unknown {
  const card = open(EXPRESS_CARD);
  card.enable();
  const probe = new TransmitProbe(card);
  const before = probe.start(0xffff);
  const done = card.reset();
  const result = {
    configSize: card.configSize,
    before,
    done,
    status: probe.status(),
    command: card.readConfig(4, 2) & 7,
    again: probe.start(0xffff),
  };
  probe.reset();
  card.close();
  return result;
}

/** Memory in many pieces, freed in another order, with everything left to close() in the end. */
function memory(): unknown {
  const card = open();
  const before = readStatus('VmLck');
  const regions = Array.from({ length: 100 }, (_, i) => card.memory.allocate((i % 7) * 5000 + 1));
  const bytes = regions.reduce((sum, { size }) => sum + size, 0);
  const locked = (readStatus('VmLck') - before) * 1024;
  const allocated = card.memory.allocatedBytes;
  for (const region of regions.filter((_, i) => i % 2 === 0)) region.free();
  const huge = attempt(() => card.memory.allocate(2 ** 32));
  const left = card.memory.allocatedBytes;
  card.close();
  const lengths = new Set(regions.map(({ buffer }) => buffer.byteLength));
  return {
    bytes,
    locked,
    allocated,
    left,
    huge,
    lengths: [...lengths],
    lockedAfter: readStatus('VmLck') - before,
  };
}

function busy(): unknown {
  const card = open();
  const before = holdings();
  const inside = attempt(() => open());
  const outside = runSelf('open-only', {});
  const after = holdings();
  card.close();
  return { inside, outside, before, after, then: attempt(() => open().close()) };
}

function unviable(): unknown {
  const before = holdings();
  return { error: attempt(() => open(SHARING_CARD)), before, after: holdings() };
}

function unbound(): unknown {
  const before = holdings();
  return { error: attempt(() => open('0000:00:12.0')), before, after: holdings() };
}

interface RunOptions {
  readonly uid?: number;
  readonly memlockKib?: number;
}

/** Runs another scenario in a process of its own. */
function runSelf(scenario: string, { uid, memlockKib }: RunOptions): unknown {
  const limit = memlockKib === undefined ? '' : `ulimit -l ${memlockKib} && `;
  const command = `${limit}exec ${process.execPath} ${PROGRAM} ${scenario}`;
  const identity = uid === undefined ? {} : { uid, gid: uid };
  const { stdout, stderr, signal } = spawnSync('sh', ['-c', command], { encoding: 'utf8', ...identity });
  try {
    return JSON.parse(stdout) as unknown;
  } catch {
    return { signal, stdout, stderr };
  }
}

function permission(): unknown {
  return runSelf('open-only', { uid: USER });
}

function memlock(): unknown {
  chownSync(groupFile(CARD), USER, USER);
  const result = runSelf('allocate-only', { uid: USER, memlockKib: 64 });
  chownSync(groupFile(CARD), 0, 0);
  return result;
}

/** Up to the limit it works, beyond it there is a clear error, and what was freed counts no more. */
function allocateOnly(): unknown {
  const card = open();
  const small = card.memory.allocate(60 * 1024);
  const before = holdings();
  const error = attempt(() => card.memory.allocate(8192));
  const after = holdings();
  small.free();
  const again = attempt(() => card.memory.allocate(60 * 1024).size);
  card.close();
  return { error, before, after, again };
}

/** A process that is killed in the middle of its work leaves a device that the next one can open. */
async function killed(): Promise<unknown> {
  const death = runSelf('die', {});
  const result = await useOnce();
  return { death, result };
}

function die(): void {
  const card = open();
  card.enable();
  card.enableMsix([() => undefined, () => undefined]);
  const probe = new TransmitProbe(card);
  probe.start(1);
  probe.send();
  process.kill(process.pid, 'SIGKILL');
}

/** So does a worker that is terminated with the device open, while the process goes on. */
async function terminated(): Promise<unknown> {
  const worker = new Worker(PROGRAM, { argv: ['stay'], stdout: true });
  await once(worker, 'message');
  const during = attempt(() => open());
  await worker.terminate();
  return { during, result: await useOnce() };
}

function stay(): void {
  const card = open();
  card.enable();
  card.memory.allocate(1 << 16);
  card.enableMsix([() => undefined]);
  parentPort?.postMessage('open');
}

/** Interrupts that are taken down while they arrive: no handler may run afterwards. */
async function interruptsOff(): Promise<unknown> {
  let late = 0;
  let calls = 0;
  const card = open();
  card.enable();
  const probe = new TransmitProbe(card);
  for (let i = 0; i < 50; i++) {
    let off = false;
    card.enableMsix([
      () => undefined,
      () => {
        calls += 1;
        if (off) late += 1;
      },
    ]);
    probe.start(1);
    probe.send();
    if (i % 2 === 0) await until(() => probe.used() > 0);
    card.disableMsix();
    card.disableMsix();
    off = true;
    await sleep(2);
    probe.reset();
  }
  const tooMany = attempt(() => card.enableMsix(Array.from({ length: 1000 }, () => () => undefined)));
  card.close();
  return { late, some: calls > 0, tooMany };
}

const SCENARIOS: Partial<Record<string, () => unknown>> = {
  lifecycle,
  reset,
  rounds,
  memory,
  busy,
  unviable,
  unbound,
  permission,
  memlock,
  killed,
  terminated,
  interruptsOff,
  'open-only': () => attempt(() => open().close()),
  'allocate-only': allocateOnly,
  die,
  stay,
};

const [, , ...names] = process.argv;
const results: Record<string, unknown> = {};
for (const name of names) {
  const scenario = SCENARIOS[name];
  if (scenario === undefined) throw new Error(`no scenario ${name}`);
  results[name] = (await scenario()) ?? null;
}
console.log(JSON.stringify(names.length === 1 ? results[names[0]] : results));
