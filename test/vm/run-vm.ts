/** Runs a command in a QEMU guest that has virtio network cards, with the built package in it. */
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { provideDpdk } from './dpdk-package.js';
import { provideApp } from './guest-app.js';
import { provideBase } from './guest-base.js';
import { composeImage, type GuestFile } from './guest-image.js';
import { provideKernel, type GuestKernel } from './guest-kernel.js';
import { peerPath } from './namespace.js';
import { provideNoIommuModules } from './noiommu-modules.js';
import { planNics, type PlannedNic, type VmIommu, type VmNic } from './nic.js';
import type { Preparation } from './progress.js';
import { requireVm } from './requirements.js';
import { runSession, type SessionEnd, type SessionHandlers } from './session.js';
import { quoteWords } from './shell.js';
import { VmError } from './vm-error.js';

/** The status of a run that did not end in time. */
export const TIMEOUT_STATUS = 124;
export const DEFAULT_TIMEOUT_SECONDS = 300;
/** The card of a VM of which nothing else was said. */
export const DEFAULT_NIC: VmNic = { properties: 'iommu_platform=on,disable-legacy=on' };

export interface VmOptions extends SessionHandlers {
  /** What to run in /app: a shell command, or words that are quoted for the shell. */
  readonly command: string | readonly string[];
  /** Default: one card, as `DEFAULT_NIC`. An empty list: none. */
  readonly nics?: readonly VmNic[];
  /**
   * `'intel'` or true: the guest has an IOMMU, which is the default. `'none'` or false: it has none. `'noiommu'`: it has
   * none, and its VFIO does without, as far as a card is bound to vfio-pci before the command runs; for cards that the
   * command binds itself, it first has to switch that on.
   */
  readonly iommu?: boolean | VmIommu;
  /** Files for the guest by their absolute path there. Folders above them are made. */
  readonly files?: Readonly<Record<string, GuestFile>>;
  /** How long the boot and the command may take together. Default: 300. */
  readonly timeoutSeconds?: number;
  /** Default: 1024. */
  readonly memoryMiB?: number;
  /** Number of virtual CPUs. Default: 2. */
  readonly cpus?: number;
  /** Further arguments of QEMU; they come before those of the cards. */
  readonly extraQemuArgs?: readonly string[];
  /** Further arguments of the guest's kernel. */
  readonly kernelArgs?: readonly string[];
  /**
   * A program for Node that runs beside QEMU, in the network namespace of the cards that have a tap, for as long as
   * QEMU runs: what the cards' programs talk to. Its contents, not its path.
   */
  readonly peer?: string;
  /** Ends the run at once; `runVm` then throws VM_ABORTED. */
  readonly signal?: AbortSignal;
}

export interface VmResult {
  /** The exit status of the command, 0 to 255; 124 also if it did not end in time. */
  readonly status: number;
  readonly timedOut: boolean;
  /** What the command wrote, to standard output and standard error. */
  readonly output: string;
  /** What the guest's kernel wrote. */
  readonly kernelLog: string;
  /** The lines of the kernel's log about DMA that the vIOMMU refused. */
  readonly dmarFaults: readonly string[];
  /** For each card its recording in pcap format; undefined where none was asked for. */
  readonly dumps: readonly (Buffer | undefined)[];
}

interface GuestArchives {
  readonly kernel: GuestKernel;
  /** The first is the base; files of later ones take the place of those before. */
  readonly archives: readonly [string, ...string[]];
  /** The folder of DPDK, where a card needs it. */
  readonly dpdk: string | undefined;
}

function iommuOf({ iommu = true }: VmOptions): VmIommu {
  if (typeof iommu === 'string') return iommu;
  return iommu ? 'intel' : 'none';
}

async function provideGuest(options: VmOptions, preparation: Preparation): Promise<GuestArchives> {
  const { nics = [] } = options;
  const kernel = await provideKernel(preparation);
  const base = await provideBase(kernel, preparation);
  const needsModules = iommuOf(options) === 'noiommu';
  const modules = needsModules ? [await provideNoIommuModules(kernel, preparation)] : [];
  const archives = [base, ...modules, await provideApp(preparation)] as const;
  const needsDpdk = nics.some(({ vhostQueues }) => vhostQueues !== undefined);
  return { kernel, archives, dpdk: needsDpdk ? await provideDpdk(preparation) : undefined };
}

/** Prepares what all runs share; this may take minutes, or wait for another process that does it. */
async function prepare(options: VmOptions): Promise<GuestArchives> {
  const { onProgress, signal } = options;
  const preparation = { onProgress: (step: string) => onProgress?.(step), signal };
  return provideGuest(options, preparation).catch((error: unknown) => {
    throw signal?.aborted === true ? aborted(error) : error;
  });
}

function aborted(cause?: unknown): VmError {
  return new VmError('VM_ABORTED', 'The run of the VM was aborted.', cause);
}

/** Composes the guest's file system, boots it and waits for its end. */
async function boot(
  options: VmOptions,
  guest: GuestArchives,
  nics: readonly PlannedNic[],
  folder: string,
): Promise<SessionEnd> {
  const { command, files = {}, timeoutSeconds = DEFAULT_TIMEOUT_SECONDS } = options;
  const path = join(folder, 'initrd');
  const commandLine = typeof command === 'string' ? command : quoteWords(command);
  await composeImage(path, guest.archives, { command: commandLine, nics, files });
  const image = await open(path);
  const peer = options.peer === undefined ? undefined : peerPath(folder);
  if (peer !== undefined) await writeFile(peer, options.peer ?? '');
  try {
    // QEMU reads it through the descriptor; so nothing of this size stays if this process is killed.
    await rm(path);
    if (options.signal?.aborted === true) throw aborted();
    const machine = {
      kernel: guest.kernel,
      imageFd: image.fd,
      iommu: iommuOf(options) === 'intel',
      nics,
      memoryMiB: options.memoryMiB ?? 1024,
      cpus: options.cpus ?? 2,
      kernelArguments: options.kernelArgs ?? [],
      extraArguments: options.extraQemuArgs ?? [],
      peer,
      dpdk: guest.dpdk,
    };
    return await runSession(machine, { ...options, timeoutSeconds });
  } finally {
    await image.close();
  }
}

async function readDumps(nics: readonly PlannedNic[]): Promise<(Buffer | undefined)[]> {
  return Promise.all(
    nics.map(async ({ dumpFile }) => (dumpFile === undefined ? undefined : readFile(dumpFile))),
  );
}

/** The guest's kernel limits how many of these it writes, so their number is a lower bound. */
function findDmarFaults(kernelLog: string): string[] {
  return kernelLog.split('\n').filter((line) => /DMAR: .*fault addr/.test(line));
}

/**
 * Boots a guest, runs a command in it, and gives what came out of it. Several can run at the same time.
 *
 * The first run on a machine downloads and packs the guest, and each run builds the package where its sources
 * are newer than what was built.
 *
 * @throws VmError if the VM itself fails; a command that fails is a result with a status other than 0
 */
export async function runVm(options: VmOptions): Promise<VmResult> {
  requireVm();
  if (options.command.length === 0) throw new VmError('VM_OPTION_INVALID', 'There is no command to run.');
  const folder = await mkdtemp(join(tmpdir(), 'virtio-net-vm-'));
  try {
    const nics = planNics(options.nics ?? [DEFAULT_NIC], iommuOf(options), folder);
    const guest = await prepare(options);
    const { status, output, kernelLog } = await boot(options, guest, nics, folder);
    return {
      status: status ?? TIMEOUT_STATUS,
      timedOut: status === undefined,
      output: output.toString(),
      kernelLog,
      dmarFaults: findDmarFaults(kernelLog),
      dumps: await readDumps(nics),
    };
  } finally {
    options.onProgress?.(undefined);
    await rm(folder, { recursive: true, force: true });
  }
}
