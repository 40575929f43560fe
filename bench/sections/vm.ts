/** In a VM: the library on a card of its own, against Node programs over the kernel's driver of the same kind of card. */
import { provideCap } from '../lib/cap.js';
import { chooseProcessors } from '../lib/processors.js';
import { median, rounded, summarize } from '../lib/statistics.js';
import { compareInVm, type VmContender, type VmTrial } from '../lib/vm-comparison.js';
import type { VmAnswer, VmRequest } from '../programs/vm/interval.js';
import type { BarPlot, Cell, SectionResult, Table } from '../result.js';
import type { BenchContext, Section } from '../section.js';

type Direction = VmRequest['direction'];

const DIRECTIONS: readonly Direction[] = ['receive', 'transmit'];
const OURS: VmContender = { name: 'virtio-net', program: 'driver' };
const CAP: VmContender = { name: 'cap', program: 'cap' };
const SOCKETS: readonly VmContender[] = [
  { name: 'koffi: recv, send', program: 'packet-socket', way: 'single' },
  { name: 'koffi: recvmmsg, sendmmsg', program: 'packet-socket', way: 'bursts' },
  { name: 'koffi: PACKET_MMAP', program: 'packet-socket', way: 'ring' },
];
const FRAME_LENGTH = 64;
const BURST = 32;

interface Measured {
  readonly direction: Direction;
  readonly trials: readonly VmTrial[];
}

function turns(contenders: readonly VmContender[], rounds: number): VmContender[] {
  return Array.from({ length: rounds }, (_, round) => {
    const at = round % contenders.length;
    return [...contenders.slice(at), ...contenders.slice(0, at)];
  }).flat();
}

async function measure(
  context: BenchContext,
): Promise<{ measured: Measured[]; missing: string | undefined }> {
  const { quick, rounds, signal, steps } = context;
  const cap = await provideCap(signal);
  const missing = 'missing' in cap ? cap.missing : undefined;
  const contenders = [OURS, ...SOCKETS, ...(missing === undefined ? [CAP] : [])];
  const trials = turns(contenders, quick ? 1 : rounds);
  steps.expect(DIRECTIONS.length * (trials.length + 1));
  const measured: Measured[] = [];
  for (const direction of DIRECTIONS) {
    steps.begin(`${direction}: booting the guest`);
    const found = await compareInVm({
      direction,
      trials,
      request: {
        frameLength: FRAME_LENGTH,
        burst: BURST,
        warmUpSeconds: quick ? 0.5 : 2.5,
        seconds: quick ? 0.5 : 1.5,
      },
      files: 'files' in cap ? cap.files : {},
      processors: chooseProcessors(),
      signal,
      onTrial: (contender) => steps.begin(`${direction}: ${contender}`),
    });
    measured.push({ direction, trials: found });
  }
  return { measured, missing };
}

const answersOf = ({ trials }: Measured, name: string): VmAnswer[] =>
  trials.flatMap(({ contender, answer }) => (contender === name && answer !== undefined ? [answer] : []));

/** Millions of frames per second, one for each round. */
const rates = (answers: readonly VmAnswer[]): number[] =>
  answers.map(({ frames, seconds }) => frames / seconds / 1e6);

function rowOf(measured: Measured, { name }: VmContender): Cell[] {
  const answers = answersOf(measured, name);
  const summary = summarize(rates(answers));
  const ours = summarize(rates(answersOf(measured, OURS.name)));
  if (summary === undefined) return [measured.direction, name, null, null, null, null, 0];
  const busy = median(answers.map(({ busySeconds, frames }) => (busySeconds * 1e6) / Math.max(1, frames)));
  return [
    measured.direction,
    name,
    rounded(summary.median),
    `${rounded(summary.low)} to ${rounded(summary.high)}`,
    ours === undefined || name === OURS.name ? null : rounded(ours.median / summary.median),
    rounded(busy),
    answers.length,
  ];
}

const namesIn = (all: readonly Measured[]): VmContender[] =>
  [OURS, ...SOCKETS, CAP].filter(({ name }) => all.some((each) => answersOf(each, name).length > 0));

function tableOf(all: readonly Measured[]): Table {
  return {
    title: 'Frames of 64 bytes',
    columns: [
      { name: 'direction' },
      { name: 'program' },
      { name: 'rate', unit: 'Mpps' },
      { name: 'lowest to highest', unit: 'Mpps' },
      { name: 'virtio-net is faster by', unit: 'times' },
      { name: 'processor time of the guest', unit: 'µs per frame' },
      { name: 'rounds' },
    ],
    rows: all.flatMap((each) => namesIn(all).map((contender) => rowOf(each, contender))),
  };
}

function plotOf(all: readonly Measured[]): BarPlot {
  return {
    kind: 'bars',
    title: 'In a VM, against Node programs over the kernel’s driver',
    unit: 'Mpps',
    groups: all.map(({ direction }) => direction),
    series: namesIn(all).map(({ name }) => ({
      name,
      bars: all.map((each) => {
        const summary = summarize(rates(answersOf(each, name)));
        if (summary === undefined) return null;
        return { value: rounded(summary.median), low: rounded(summary.low), high: rounded(summary.high) };
      }),
    })),
  };
}

/** Who failed, and why: each kind of failure once. */
function listOf(failed: readonly VmTrial[]): string {
  return [...new Set(failed.map(({ contender, complaint = '' }) => `${contender} (${complaint})`))].join(
    ', ',
  );
}

function describe(all: readonly Measured[], missing: string | undefined): SectionResult {
  const failed = all.flatMap(({ trials }) => trials).filter(({ answer }) => answer === undefined);
  return {
    title: 'Against AF_PACKET in a VM',
    what:
      'Node programs in a guest with one processor and no vIOMMU, on two cards of QEMU that are alike, both with DPDK’s ' +
      'testpmd behind them as the vhost-user backend on the other processor of the host. virtio-net polls its card through ' +
      'VFIO; the others use packet sockets over the kernel’s virtio_net, which they poll too, or the event loop in the ' +
      'case of cap.',
    tables: [tableOf(all)],
    plots: [plotOf(all)],
    notes: [
      'The guest is emulated instruction by instruction (TCG, no KVM): all figures are far below those of a real machine, and ' +
        'only their ratios say something. The backend is not emulated, and limits nobody here.',
      'The processor of the guest is busy all the time, so the time for each frame is the inverse of the rate, within what the ' +
        'ticks of the kernel resolve; interrupts and kernel threads are in it.',
      'The backend sends and takes as much as it can, more than any of the programs: this is what each does when there is too ' +
        'much. Receiving, the kernel takes every frame from the card before it drops those that nobody fetched.',
      'Both cards use one interrupt of the old kind (INTx) instead of MSI-X, with which QEMU 7.2 fails here under the ' +
        'kernel’s driver. virtio-net asks for none, and the kernel for few as long as frames keep coming.',
      'The rings are split. cap counts what reaches its callback; the kernel drops what a program does not fetch in time.',
      ...(missing === undefined ? [] : [`cap could not be compiled here, and is left out: ${missing}`]),
      ...(failed.length === 0
        ? []
        : [`${failed.length} trials failed, and are left out: ${listOf(failed)}.`]),
    ],
  };
}

export const vm: Section = {
  name: 'vm',
  title: 'Against AF_PACKET in a VM',
  seconds: ({ quick, rounds }) => DIRECTIONS.length * (15 + (SOCKETS.length + 2) * (quick ? 3 : 6 * rounds)),
  run: async (context) => {
    const { measured, missing } = await measure(context);
    return describe(measured, missing);
  },
};
