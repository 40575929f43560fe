/** The QEMU process: its command line, and the sockets between it and us. */
import { spawn, type ChildProcess } from 'node:child_process';
import type { Duplex } from 'node:stream';
import type { GuestKernel } from './guest-kernel.js';
import { inSurroundings } from './namespace.js';
import type { PlannedNic } from './nic.js';

/** The machine to start. */
export interface Machine {
  readonly kernel: GuestKernel;
  /** File descriptor of the initial file system. */
  readonly imageFd: number;
  readonly iommu: boolean;
  readonly nics: readonly PlannedNic[];
  readonly memoryMiB: number;
  readonly cpus: number;
  readonly kernelArguments: readonly string[];
  readonly extraArguments: readonly string[];
  /** The path of a program for Node that runs beside QEMU in the network namespace of its taps. */
  readonly peer: string | undefined;
  /** The folder of DPDK, where a card needs it. */
  readonly dpdk: string | undefined;
}

/** QEMU, running. Each stream ends when it ends. */
export interface QemuProcess {
  readonly process: ChildProcess;
  /** What QEMU itself says: about a bad property, for example. */
  readonly messages: Duplex;
  /** The guest's ttyS0, ttyS1 and ttyS2: see init.sh. */
  readonly kernelLog: Duplex;
  readonly output: Duplex;
  readonly reports: Duplex;
  readonly qmp: Duplex;
}

/** File descriptors of the process; node makes a socket pair for each but the image. */
const FD = { kernelLog: 3, output: 4, reports: 5, qmp: 6, image: 7 } as const;

const KERNEL_ARGUMENTS = [
  'console=ttyS0',
  // Restart at once after a panic, which ends QEMU because of -no-reboot.
  'panic=-1',
  // Random numbers without waiting for noise.
  'random.trust_cpu=on',
  'mitigations=off',
  // The check counts ticks while it waits by the TSC: on a host with other things to do it fails, and the boot with it.
  'no_timer_check',
  // A tenth of the boot.
  'cryptomgr.notests',
];

const channel = (id: string, fd: number): string[] => ['-chardev', `socket,id=${id},fd=${fd}`];
const serialPort = (id: string, fd: number): string[] => [...channel(id, fd), '-serial', `chardev:${id}`];

function kernelCommandLine(machine: Machine): string {
  const iommu = machine.iommu ? ['intel_iommu=on'] : [];
  return [...KERNEL_ARGUMENTS, ...iommu, ...machine.kernelArguments].join(' ');
}

/** A backend that is a process of its own must be able to map the guest's memory. */
function memoryArguments({ nics, memoryMiB }: Machine): string[] {
  if (nics.every(({ socket }) => socket === undefined)) return [];
  const memory = `memory-backend-memfd,id=memory,size=${memoryMiB}M,share=on`;
  return ['-object', memory, '-machine', 'memory-backend=memory'];
}

function qemuArguments(machine: Machine): string[] {
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-machine', 'q35,kernel-irqchip=split', '-accel', 'tcg,thread=multi', '-cpu', 'max'],
    ...memoryArguments(machine),
    ...['-m', String(machine.memoryMiB), '-smp', String(machine.cpus)],
    ...['-kernel', machine.kernel.image, '-initrd', `/proc/self/fd/${FD.image}`],
    ...['-append', kernelCommandLine(machine)],
    ...serialPort('log', FD.kernelLog),
    ...serialPort('output', FD.output),
    ...serialPort('reports', FD.reports),
    ...channel('qmp', FD.qmp),
    ...['-mon', 'chardev=qmp,mode=control'],
    // Before the cards: those that come earlier would bypass it.
    ...(machine.iommu ? ['-device', 'intel-iommu,intremap=on,caching-mode=on'] : []),
    ...machine.extraArguments,
    ...machine.nics.flatMap((nic) => nic.qemuArguments),
  ];
}

/** What QEMU runs in, where its cards need more than it brings itself. */
function surroundingsOf({ nics, peer, dpdk }: Machine): string[] {
  const taps = nics.flatMap(({ tap }) => (tap === undefined ? [] : [tap]));
  const sockets = nics.flatMap(({ socket }) => (socket === undefined ? [] : [socket]));
  return inSurroundings({ taps, sockets, peer, dpdk });
}

/** Starts QEMU. It is killed when this process, or the thread that called, ends for whatever reason. */
export function startQemu(machine: Machine): QemuProcess {
  const command = [
    ...['--pdeathsig', 'KILL', '--'],
    ...surroundingsOf(machine),
    ...['qemu-system-x86_64', ...qemuArguments(machine)],
  ];
  const child = spawn('setpriv', command, {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe', machine.imageFd],
  });
  // Each of them is a socket, whatever the types of Node say.
  const stream = (fd: number): Duplex => child.stdio[fd as 0] as unknown as Duplex;
  return {
    process: child,
    messages: stream(2),
    kernelLog: stream(FD.kernelLog),
    output: stream(FD.output),
    reports: stream(FD.reports),
    qmp: stream(FD.qmp),
  };
}
