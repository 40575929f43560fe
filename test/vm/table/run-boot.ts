/** Runs the rows of one guest and judges what came of them. */
import { createHash } from 'node:crypto';
import { tapNetwork } from '../namespace.js';
import type { VmNic } from '../nic.js';
import { bundleProgram } from '../guest-programs.js';
import { readFrames } from '../pcap.js';
import { runVm, type VmOptions, type VmResult } from '../run-vm.js';
import type { RunningVm } from '../session.js';
import { quoteWords } from '../shell.js';
import { VmError } from '../vm-error.js';
import type { Boot } from './boots.js';
import { checksOf, type DeviceRow, type MachineKind } from './device-row.js';
import {
  BYTES_IDENTIFIER,
  type CheckName,
  type CheckReport,
  type HostRequest,
  type SuiteCard,
  type Wire,
} from './suite.js';

/** What became of a row. */
export interface RowResult {
  readonly row: DeviceRow;
  readonly checks: readonly CheckReport[];
}

/** How long a guest may take, on a host with other things to do. */
const TIMEOUT_SECONDS = 900;
const SLIRP: Wire = { cardIp: '10.0.2.15', peerIp: '10.0.2.2' };
const FIRST_SLOT = 0x10;

interface PlacedCard {
  readonly index: number;
  readonly nic: VmNic;
  readonly address: string;
  readonly wire: Wire;
}

function place(nic: VmNic, index: number): PlacedCard {
  const { hostIp, hostIp6, cardIp, cardIp6 } = tapNetwork(index);
  const wire = nic.tap === undefined ? SLIRP : { cardIp, cardIp6, peerIp: hostIp, peerIp6: hostIp6 };
  const address = nic.address ?? `0000:00:${(FIRST_SLOT + index).toString(16)}.0`;
  return { index, nic, address, wire };
}

interface PlacedRow {
  readonly row: DeviceRow;
  readonly card: PlacedCard;
  readonly other: PlacedCard | undefined;
}

function placeAll(rows: readonly DeviceRow[]): PlacedRow[] {
  let next = 0;
  return rows.map((row) => {
    const card = place(row.nic, next++);
    return { row, card, other: row.other === undefined ? undefined : place(row.other, next++) };
  });
}

/** The driver that has a card before the row, and is to have it afterwards. */
function driverOf({ bind }: VmNic): string {
  if (bind === 'none') return 'none';
  return bind === false ? 'virtio-pci' : 'vfio-pci';
}

function suiteCard({ row, card, other }: PlacedRow): SuiteCard {
  return {
    row: row.name,
    address: card.address,
    options: row.options,
    expect: row.expect,
    wire: card.wire,
    driver: driverOf(card.nic),
    checks: checksOf(row),
    streamMiB: row.streamMiB,
    other: other === undefined ? undefined : { address: other.address, wire: other.wire },
  };
}

function parseLine(line: string): CheckReport | HostRequest | undefined {
  if (!line.startsWith('{"row":')) return undefined;
  return JSON.parse(line) as CheckReport | HostRequest;
}

/** Does what a program in the guest asks of the hypervisor. */
async function serve(rows: readonly PlacedRow[], request: HostRequest, vm: RunningVm): Promise<void> {
  const card = rows.find(({ row }) => row.name === request.row)?.card;
  if (card === undefined) throw new Error(`There is no row ${request.row}.`);
  await vm.qmp('set_link', { name: `nic${card.index}`, up: request.host === 'link-up' });
}

function readReports(output: string): CheckReport[] {
  const lines = output.split('\n').map((line) => parseLine(line));
  return lines.filter((line): line is CheckReport => line !== undefined && 'check' in line);
}

const ETHER_TYPE_AT = 12;
const PROTOCOL_AT = 23;
const ICMP_TYPE_AT = 34;
const IDENTIFIER_AT = 38;
/** QEMU records what a tap takes and gives with the virtio_net_hdr in front, of a length that depends on the features. */
const POSSIBLE_HEADERS = [0, 10, 12, 20];

function isEcho(frame: Buffer, icmpType: number): boolean {
  return (
    frame.length >= IDENTIFIER_AT + 2 &&
    frame.readUInt16BE(ETHER_TYPE_AT) === 0x0800 &&
    frame[PROTOCOL_AT] === 1 &&
    frame[ICMP_TYPE_AT] === icmpType &&
    frame.readUInt16BE(IDENTIFIER_AT) === BYTES_IDENTIFIER
  );
}

/** The digest of the recorded echo messages of the check `bytes`, in one direction. */
function digestOfWire(records: readonly Buffer[], icmpType: number): string {
  const hash = createHash('sha256');
  for (const record of records) {
    const frame = POSSIBLE_HEADERS.map((length) => record.subarray(length)).find((one) =>
      isEcho(one, icmpType),
    );
    if (frame !== undefined) hash.update(frame);
  }
  return hash.digest('hex');
}

const failed = (report: CheckReport, reason: string): CheckReport => ({ ...report, passed: false, reason });

/** Compares what the program sent and received with what QEMU saw cross the wire. */
function judgeBytes(report: CheckReport, nic: VmNic, dump: Buffer | undefined): CheckReport {
  if (!report.passed || nic.dump === false) return report;
  if (dump === undefined) return failed(report, 'the wire was not recorded');
  const frames = readFrames(dump);
  const { sent, received, ...figures } = report.figures;
  if (digestOfWire(frames, 8) !== sent) return failed(report, 'other frames were on the wire than were sent');
  if (digestOfWire(frames, 0) !== received) {
    return failed(report, 'other frames were on the wire than were received');
  }
  return { ...report, figures };
}

/** The kernel writes the function of a fault as `00:10.0`. */
function judgeClose(report: CheckReport, { address }: PlacedCard, faults: readonly string[]): CheckReport {
  const own = faults.filter((line) => line.includes(`[${address.slice('0000:'.length)}]`));
  if (own.length > 0) return failed(report, `the vIOMMU refused ${own.length} accesses: ${own[0]}`);
  return report;
}

function judge(placed: PlacedRow, reports: readonly CheckReport[], result: VmResult): RowResult {
  const { row, card } = placed;
  const checks = checksOf(row).map((check: CheckName): CheckReport => {
    const report = reports.find((one) => one.row === row.name && one.check === check);
    if (report === undefined) {
      const reason = `the program in the guest did not come that far: ${tail(result.output, row.name)}`;
      return { row: row.name, check, passed: false, figures: {}, reason };
    }
    if (check === 'bytes') return judgeBytes(report, card.nic, result.dumps[card.index]);
    return check === 'close' ? judgeClose(report, card, result.dmarFaults) : report;
  });
  return { row, checks };
}

/** What was written between the beginning of a row and that of the next one. */
function tail(output: string, name: string): string {
  const begin = output.indexOf(`== ${name}\n`);
  const end = output.indexOf('\n== ', begin + 1);
  const text = begin === -1 ? output : output.slice(begin, end === -1 ? undefined : end);
  return text.slice(-600);
}

/** The cards are with the kernel's driver at first, so nobody has told VFIO yet that it is to do without an IOMMU. */
const WITHOUT_IOMMU = 'modprobe vfio && echo Y >/sys/module/vfio/parameters/enable_unsafe_noiommu_mode';

/** Rings of a legacy device want memory in one piece, of which there is always some now and seldom later. */
const HUGE_PAGES = 'echo 64 >/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages';

/** One row, in a process of its own. What it says beside its reports is kept until the end, when one row comes after another. */
const RUN_ROW = 'node device-suite.mjs /app/row$0.json 2>/app/row$0.log || echo "status $?" >>/app/row$0.log';

/**
 * Rows at a time: most of what a row does, one processor does. The backend of DPDK keeps one of the host's busy.
 */
const rowsAtATime = (machine: MachineKind): number => (machine === 'dpdk' ? 1 : 2);

function script(machine: MachineKind, rows: readonly PlacedRow[]): string {
  const numbers = [...rows.keys()].join(' ');
  return [
    HUGE_PAGES,
    ...(machine === 'no-iommu' ? [WITHOUT_IOMMU] : []),
    `echo ${numbers} | xargs -n 1 -P ${rowsAtATime(machine)} sh -c ${quoteWords([RUN_ROW])}`,
    ...rows.flatMap(({ row }, number) => [`echo '== ${row.name}'`, `cat /app/row${number}.log`]),
  ].join('\n');
}

async function options({ machine, rows }: Boot, placed: readonly PlacedRow[]): Promise<VmOptions> {
  const cards = placed.flatMap(({ card, other }) => (other === undefined ? [card] : [card, other]));
  const files = placed.map((one, number): [string, string] => [
    `/app/row${number}.json`,
    JSON.stringify(suiteCard(one)),
  ]);
  const hasTap = cards.some(({ nic }) => nic.tap !== undefined);
  return {
    command: script(machine, placed),
    nics: cards.map(({ nic }) => nic),
    iommu: machine === 'no-iommu' ? 'noiommu' : 'intel',
    timeoutSeconds: TIMEOUT_SECONDS,
    memoryMiB: 1536,
    extraQemuArgs: rows.flatMap(({ machineArguments }) => machineArguments),
    ...(hasTap ? { peer: await bundleProgram('test/vm/table/peer.ts') } : {}),
    files: {
      ...Object.fromEntries(files),
      '/app/device-suite.mjs': await bundleProgram('test/system/guest/table/device-suite.ts'),
    },
  };
}

/** What has come of the rows of a guest that failed itself. */
function failedBoot({ rows }: Boot, error: VmError): RowResult[] {
  return rows.map((row) => ({
    row,
    checks: checksOf(row).map((check) => ({
      ...{ row: row.name, check, passed: false, figures: {} },
      reason: `${error.code}: ${error.message}`,
    })),
  }));
}

/**
 * Boots a guest with the cards of all its rows and takes each through the suite. Where the guest itself fails, all of
 * its rows have failed.
 *
 * @param onReport - called with each check as it is done, before the host has had its say on it
 */
export async function runBoot(boot: Boot, onReport?: (report: CheckReport) => void): Promise<RowResult[]> {
  const placed = placeAll(boot.rows);
  try {
    const result = await runVm({
      ...(await options(boot, placed)),
      onLine: async (line, vm) => {
        const message = parseLine(line);
        if (message === undefined) return;
        if ('host' in message) await serve(placed, message, vm);
        else onReport?.(message);
      },
    });
    const reports = readReports(result.output);
    return placed.map((one) => judge(one, reports, result));
  } catch (error) {
    if (!(error instanceof VmError)) throw error;
    return failedBoot(boot, error);
  }
}
