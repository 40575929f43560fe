/** What every program of the comparison in the VM is asked, and how it answers. */
import { readFileSync } from 'node:fs';

export interface VmRequest {
  /** The card: a PCI address for our driver, the name of a network interface for the others. */
  readonly card: string;
  readonly direction: 'receive' | 'transmit';
  /** How a program over a packet socket calls the kernel. */
  readonly way?: string;
  /** Length of the frames in bytes, without FCS. */
  readonly frameLength: number;
  /** Frames for each call, where the way has bursts. */
  readonly burst: number;
  readonly warmUpSeconds: number;
  readonly seconds: number;
}

export interface VmAnswer {
  readonly frames: number;
  readonly seconds: number;
  /** Of this process, in seconds; work that the kernel does in its interrupts is not all in it. */
  readonly cpuSeconds: number;
  /** Of the whole guest, in seconds: interrupts and kernel threads included. */
  readonly busySeconds: number;
}

export const readRequest = (): VmRequest => JSON.parse(process.argv[2]) as VmRequest;

/** How many calls are made between two looks at the clock, which costs more than many of them. */
const CALLS_BETWEEN_LOOKS = 16;

/**
 * Calls as often as the time allows, first to warm up, then counted.
 *
 * @param step - does one burst and says how many frames it was
 */
export function measureInterval(step: () => number, request: VmRequest): VmAnswer {
  runFor(step, request.warmUpSeconds);
  const before = readUse();
  const { frames, seconds } = runFor(step, request.seconds);
  return { frames, seconds, ...usedSince(before) };
}

function runFor(step: () => number, wanted: number): { frames: number; seconds: number } {
  const begin = performance.now();
  const end = begin + wanted * 1000;
  let frames = 0;
  let now = begin;
  while (now < end) {
    for (let call = 0; call < CALLS_BETWEEN_LOOKS; call += 1) frames += step();
    now = performance.now();
  }
  return { frames, seconds: (now - begin) / 1000 };
}

interface Use {
  readonly cpu: NodeJS.CpuUsage;
  readonly busyTicks: number;
}

export function readUse(): Use {
  return { cpu: process.cpuUsage(), busyTicks: readBusyTicks() };
}

export function usedSince(before: Use): Pick<VmAnswer, 'cpuSeconds' | 'busySeconds'> {
  const { user, system } = process.cpuUsage(before.cpu);
  const busySeconds = (readBusyTicks() - before.busyTicks) / TICKS_PER_SECOND;
  return { cpuSeconds: (user + system) / 1e6, busySeconds };
}

/** USER_HZ, in which the kernel counts for programs. */
const TICKS_PER_SECOND = 100;
/** Columns of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal. */
const IDLE_COLUMNS: readonly number[] = [3, 4];

function readBusyTicks(): number {
  const [first] = readFileSync('/proc/stat', 'utf8').split('\n');
  const columns = first.split(/\s+/).slice(1, 9).map(Number);
  return columns.filter((_, column) => !IDLE_COLUMNS.includes(column)).reduce((sum, ticks) => sum + ticks, 0);
}
