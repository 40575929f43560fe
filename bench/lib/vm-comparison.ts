/**
 * One boot of a guest with two cards of the same kind, on backends of the same testpmd: the one driven by the library, the
 * other by the kernel's virtio_net, over which the other programs send and receive.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GuestFile } from '../../test/vm/guest-image.js';
import { bundleProgram } from '../../test/vm/guest-programs.js';
import { runVm } from '../../test/vm/run-vm.js';
import { BenchError } from '../bench-error.js';
import type { VmAnswer, VmRequest } from '../programs/vm/interval.js';
import { onProcessor } from './affinity.js';
import type { Processors } from './processors.js';
import { startBackend } from './vhost-backend.js';

export interface VmContender {
  readonly name: string;
  /** `bench/programs/vm/NAME.ts` */
  readonly program: 'driver' | 'packet-socket' | 'cap';
  readonly way?: string;
}

export interface VmTrial {
  readonly contender: string;
  /** Undefined if the program failed. */
  readonly answer: VmAnswer | undefined;
  /** The last that it said, if it failed. */
  readonly complaint?: string;
}

export interface ComparisonOptions {
  readonly direction: VmRequest['direction'];
  /** In the order in which they are measured. */
  readonly trials: readonly VmContender[];
  readonly request: Pick<VmRequest, 'frameLength' | 'burst' | 'warmUpSeconds' | 'seconds'>;
  readonly files: Readonly<Record<string, GuestFile>>;
  readonly processors: Processors;
  readonly signal: AbortSignal;
  onTrial(contender: string): void;
}

const OWN_CARD = '0000:00:10.0';
const KERNEL_CARD = 'eth0';
const PROGRAMS = ['driver', 'packet-socket', 'cap'];
const MEMORY_MIB = 1024;
/** What a program may take beyond its measured seconds: an emulated machine starts Node.js slowly. */
const SPARE_SECONDS = 30;
const TRIAL_MARK = '## ';
/**
 * Without MSI-X: QEMU 7.2 with a backend of its own process, and without KVM, does not survive it when the kernel masks a
 * vector. Our driver polls, and the kernel does so too as long as frames keep coming.
 */
const CARD = 'disable-legacy=on,vectors=0';

function scriptOf({ direction, trials, request }: ComparisonOptions): string {
  const seconds = request.warmUpSeconds + request.seconds + SPARE_SECONDS;
  const lines = trials.map(({ name, program, way }) => {
    const isOwn = program === 'driver';
    const words: VmRequest = {
      card: isOwn ? OWN_CARD : KERNEL_CARD,
      direction,
      ...request,
      ...(way && { way }),
    };
    const run = `timeout ${seconds} node ${program}.mjs '${JSON.stringify(words)}' 2>&1`;
    // Down, so that the kernel does nothing for it while the other card is measured.
    const link = (state: string): string => `ip link set ${KERNEL_CARD} ${state}`;
    const whole = isOwn ? run : `${link('up')}; ${run}; ${link('down')}`;
    return `echo '${TRIAL_MARK}${name}'; ${whole}`;
  });
  // The kernel is to send nothing of its own.
  return ['echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6', ...lines].join('\n');
}

async function programFiles(): Promise<Record<string, GuestFile>> {
  const files: Record<string, GuestFile> = {};
  for (const name of PROGRAMS)
    files[`/app/${name}.mjs`] = await bundleProgram(`bench/programs/vm/${name}.ts`);
  return files;
}

/** What the programs answered, in their order. */
function readTrials(output: string): VmTrial[] {
  return output
    .split(TRIAL_MARK)
    .slice(1)
    .map((part) => {
      const [contender, ...lines] = part.split('\n');
      const answer = lines.find((line) => line.startsWith('{"frames":'));
      if (answer !== undefined) return { contender, answer: JSON.parse(answer) as VmAnswer };
      const complaint = lines.findLast((line) => /error/i.test(line)) ?? 'it gave no answer in time';
      return { contender, answer: undefined, complaint: complaint.trim() };
    });
}

/**
 * Boots the guest on the driver's processor, with the backend on the other one, and measures.
 *
 * @throws BenchError, VmError
 */
export async function compareInVm(options: ComparisonOptions): Promise<VmTrial[]> {
  const { direction, trials, request, processors, signal } = options;
  const folder = await mkdtemp(join(tmpdir(), 'virtio-net-bench-'));
  const sockets = [join(folder, 'own'), join(folder, 'kernel')];
  const forward = direction === 'receive' ? 'txonly' : 'rxonly';
  const each = request.warmUpSeconds + request.seconds + SPARE_SECONDS;
  const backend = await startBackend({ sockets, forward, processors, signal });
  try {
    const result = await onProcessor(processors.driver, async () =>
      runVm({
        command: scriptOf(options),
        files: { ...(await programFiles()), ...options.files },
        iommu: 'noiommu',
        cpus: 1,
        memoryMiB: MEMORY_MIB,
        timeoutSeconds: 60 + trials.length * each,
        nics: [0, 1].map((index) => ({
          properties: CARD,
          netdev: `vhost-user,chardev=backend${index}`,
          bind: index === 0,
        })),
        extraQemuArgs: [
          ...['-object', `memory-backend-memfd,id=memory,size=${MEMORY_MIB}M,share=on`],
          ...['-machine', 'memory-backend=memory'],
          ...sockets.flatMap((path, index) => ['-chardev', `socket,id=backend${index},path=${path}`]),
        ],
        onLine: (line) => {
          if (line.startsWith(TRIAL_MARK)) options.onTrial(line.slice(TRIAL_MARK.length));
        },
        signal,
      }),
    );
    const found = readTrials(result.output);
    if (found.some(({ answer }) => answer !== undefined)) return found;
    throw new BenchError(`Nothing could be measured in the VM:\n${result.output.slice(-2000)}`);
  } finally {
    await backend.quit();
    await rm(folder, { recursive: true, force: true });
  }
}
