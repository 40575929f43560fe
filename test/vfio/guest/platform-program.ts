/**
 * Opens real devices in a guest in the ways that depend on the machine: physical addresses, huge pages, shared groups,
 * the interrupt pin, removal. Reports what came of each scenario that it is told to run.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { VirtioNetError } from '../../../src/errors.js';
import { SILENT, type Logger } from '../../../src/log.js';
import type { DmaRegion } from '../../../src/memory/dma.js';
import type { PciFunction } from '../../../src/pci/pci-function.js';
import { NetDevice } from '../../../src/net-device.js';
import type { NetDeviceOptions } from '../../../src/net/options.js';
import { openVfioFunction } from '../../../src/vfio/index.js';
import { report } from '../../vm/guest/report.js';
import { TransmitProbe } from './virtio-registers.js';

const CARD = '0000:00:10.0';
const TWINS = ['0000:00:11.0', '0000:00:11.1'] as const;
const PIN_CARD = '0000:00:12.0';
const UNPLUGGED_CARD = '0000:01:00.0';
const USER = 1000;
const PROGRAM = fileURLToPath(import.meta.url);
/** QEMU has the ISR status there in BAR 4. */
const ISR = 0x1000;
const NO_VECTOR = 0xffff;
const ARP_LENGTH = 42;

function failureOf(error: unknown): unknown {
  if (!(error instanceof VirtioNetError)) return String(error);
  return { code: error.code as string, message: error.message };
}

function attempt(action: () => unknown): unknown {
  try {
    return action();
  } catch (error) {
    return failureOf(error);
  }
}

const open = (address: string): PciFunction => openVfioFunction(address, { log: SILENT });

/** What must be the same before and after. */
function holdings(): Record<string, number> {
  const maps = readFileSync('/proc/self/maps', 'utf8').split('\n');
  const status = readFileSync('/proc/self/status', 'utf8');
  const read = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]);
  return {
    files: readdirSync('/proc/self/fd').length,
    shared: maps.filter((line) => line.includes('/dev/zero (deleted)')).length,
    huge: maps.filter((line) => line.includes('anon_hugepage')).length,
    bars: maps.filter((line) => line.includes('vfio')).length,
    locked: read('VmLck'),
    pinned: read('VmPin'),
    freeHugePages: Number(readFileSync('/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages', 'utf8')),
  };
}

/** Who has 10.0.2.2? */
function request(mac: Uint8Array): Uint8Array {
  const frame = new Uint8Array(60);
  frame.set(
    [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ...mac, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, ...mac, 10, 0, 2, 15],
    0,
  );
  frame.set([10, 0, 2, 2], 38);
  return frame;
}

/** What of the log tells how memory was made. */
function memoryLog(lines: Record<string, unknown>[]): Logger {
  const keep = (fields: object, message: string): void => {
    if (message.startsWith('allocating')) lines.push({ ...fields });
  };
  return { ...SILENT, info: keep };
}

/** One life of a device: a question out, and the answer in. */
async function exchange(address: string, options: NetDeviceOptions = {}): Promise<Record<string, unknown>> {
  const memory: Record<string, unknown>[] = [];
  const device = await NetDevice.open(address, { ...options, logger: memoryLog(memory) });
  const timeout = AbortSignal.timeout(20_000);
  try {
    await device.start();
    const frames = device.frames({ signal: timeout });
    await device.send(request(device.macBytes));
    for await (const { frame } of frames) {
      if (frame.length >= ARP_LENGTH && frame[12] === 8 && frame[13] === 6) {
        return { answer: [...frame.subarray(28, 32)], memory };
      }
    }
    return { answer: null, memory };
  } finally {
    await device.close();
  }
}

async function exchangeOr(address: string, options: NetDeviceOptions = {}): Promise<unknown> {
  return exchange(address, options).catch(failureOf);
}

/** Lives with each kind of pages, with the same holdings before and after. */
async function lives(reserved: number): Promise<Record<string, unknown>> {
  writeFileSync('/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages', '0');
  const small = await exchangeOr(CARD);
  const before = holdings();
  const again: unknown[] = [];
  for (let i = 0; i < 5; i++) again.push(await exchangeOr(CARD));
  const missing = await exchangeOr(CARD, { hugePages: '2M' });
  const after = holdings();
  writeFileSync('/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages', String(reserved));
  const reservedBefore = holdings();
  const automatic = await exchangeOr(CARD);
  const forced = await exchangeOr(CARD, { hugePages: '2M' });
  const never = await exchangeOr(CARD, { hugePages: 'never' });
  return {
    small,
    before,
    again,
    missing,
    after,
    automatic,
    forced,
    never,
    reservedBefore,
    reservedAfter: holdings(),
  };
}

/** Small pages that hold together where that was asked for, and nothing but the truth where not. */
function contiguity(): Record<string, unknown> {
  const card = openVfioFunction(CARD, { log: SILENT, hugePages: 'never' });
  card.memory.setAddressing('physical');
  const run = card.memory.allocate(40_000, { contiguous: true });
  const [first, last] = [run.addressOf(0), run.addressOf(36_864)];
  const distance = (last.hi - first.hi) * 2 ** 32 + last.lo - first.lo;
  const large = attempt(() => card.memory.allocate(4 * 2 ** 20).isContiguous(0, 4 * 2 ** 20));
  const largest = attempt(() => isWhole(card.memory.allocate(200 * 2 ** 20, { contiguous: true })));
  const late = attempt(() => card.memory.setAddressing('iova'));
  const result = { whole: run.isContiguous(0, 40_000), distance, large: typeof large, largest, late };
  card.close();
  return { ...result, allocated: card.memory.allocatedBytes };
}

const isWhole = (region: DmaRegion): boolean => region.isContiguous(0, region.size);

/** A page of 1 GiB, which is one stretch for the device too, and comes back when it is freed. */
function gigantic(): Record<string, unknown> {
  const folder = '/sys/kernel/mm/hugepages/hugepages-1048576kB';
  const free = (): number => Number(readFileSync(`${folder}/free_hugepages`, 'utf8'));
  const before = free();
  const card = openVfioFunction(CARD, { log: SILENT, hugePages: '1G' });
  card.memory.setAddressing('physical');
  const region = card.memory.allocate(8192, { buffers: true });
  const during = free();
  const { lo } = region.addressOf(0);
  const result = { size: region.size, whole: region.isContiguous(0, 2 ** 30), aligned: lo % 2 ** 30 === 0 };
  const second = attempt(() => card.memory.allocate(8192, { buffers: true }).size);
  card.close();
  return { ...result, second, free: [before, during, free()] };
}

/** As a user without any capability, who may open the card. */
function unprivileged(): unknown {
  const { stdout, stderr } = spawnSync(process.execPath, [PROGRAM, 'exchange-only'], {
    encoding: 'utf8',
    uid: USER,
    gid: USER,
  });
  const line = stdout.split('\n').find((text) => text.startsWith('{"name":"exchange-only"'));
  return line === undefined ? { stdout, stderr } : (JSON.parse(line) as { value: unknown }).value;
}

/** Two functions of one group, opened by one program. */
function twins(): Record<string, unknown> {
  const before = holdings();
  const [left, right] = TWINS.map(open);
  const probes = [left, right].map((card) => {
    card.enable();
    return new TransmitProbe(card);
  });
  const addresses = probes.map((probe) => probe.region.addressOf(0).lo);
  const statuses = probes.map((probe) => probe.start(NO_VECTOR));
  const busy = attempt(() => open(TWINS[0]));
  for (const probe of probes) probe.send();
  left.close();
  probes[1].send();
  const leftAgain = attempt(() => {
    const card = open(TWINS[0]);
    const size = card.barSize(4);
    card.close();
    return size;
  });
  const used = probes[1].used();
  right.close();
  return { statuses, apart: addresses[0] !== addresses[1], busy, leftAgain, used, before, after: holdings() };
}

/** The interrupt pin: as often as the device asserts it, until it is asked why, and never when it is off. */
async function pin(): Promise<Record<string, unknown>> {
  const before = holdings();
  const card = open(PIN_CARD);
  card.enable();
  const probe = new TransmitProbe(card);
  const isr: number[] = [];
  card.enableIntx(() => isr.push(probe.bar.read(ISR, 1)));
  const status = probe.start(NO_VECTOR);
  for (let count = 1; count <= 3; count++) {
    probe.send();
    for (let i = 0; i < 500 && isr.length < count; i++) await sleep(10);
  }
  const seen = [...isr];
  card.disableIntx();
  probe.send();
  await sleep(200);
  const result = { hasIntx: card.hasIntx, status, seen, late: isr.length - seen.length, used: probe.used() };
  card.close();
  return { ...result, vectors: card.msixVectors, before, after: holdings() };
}

/** The hypervisor unplugs the card; the kernel waits until the program has given it back. */
async function unplugged(): Promise<Record<string, unknown>> {
  const before = holdings();
  const card = open(UNPLUGGED_CARD);
  let requests = 0;
  const asked = new Promise<void>((resolve) => {
    card.onRemovalRequest(() => {
      requests += 1;
      resolve();
    });
  });
  report('ready to be unplugged', true);
  // Waiting for it keeps no program alive.
  const alive = setInterval(() => undefined, 1000);
  await asked;
  clearInterval(alive);
  card.close();
  const path = `/sys/bus/pci/devices/${UNPLUGGED_CARD}`;
  for (let i = 0; i < 1000 && existsSync(path); i++) await sleep(10);
  return { requests, gone: !existsSync(path), before, after: holdings() };
}

const SCENARIOS: Record<string, () => unknown> = {
  lives: () => lives(16),
  contiguity,
  gigantic,
  unprivileged,
  'exchange-only': () => exchangeOr(CARD),
  twins,
  pin,
  unplugged,
  sealed: async () => ({ error: await exchangeOr(CARD, { addressing: 'iova' }) }),
};

for (const name of process.argv.slice(2)) report(name, await SCENARIOS[name]());
