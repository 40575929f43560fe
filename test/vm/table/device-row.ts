/** A row of the table of devices: a card of QEMU, how it is opened, and what is expected of it. */
import type { NetDeviceOptions } from 'virtio-net';
import type { VmNic } from '../nic.js';
import { COMMON_CHECKS, type CheckName, type Expectations } from './suite.js';

/**
 * A guest with a vIOMMU, or one without, in which VFIO is told to do without an IOMMU too. The former apart where the
 * backend of its cards is DPDK, which keeps a processor busy all the time.
 */
export type MachineKind = 'iommu' | 'no-iommu' | 'dpdk';

export interface DeviceRow {
  readonly name: string;
  readonly machine: MachineKind;
  readonly nic: VmNic;
  readonly options: NetDeviceOptions;
  readonly expect: Expectations;
  /** Length of TCP streams over IPv4 whose segments are larger than frames. */
  readonly streamMiB: number;
  /** Checks beyond the common ones. */
  readonly extras: readonly CheckName[];
  /** Common checks that mean nothing on this card, and why. */
  readonly without: Readonly<Partial<Record<CheckName, string>>>;
  /** A further card on the machine, for checks that need two. */
  readonly other: VmNic | undefined;
  /** What QEMU must have besides the cards, such as a bridge for them. */
  readonly machineArguments: readonly string[];
}

/** Properties of QEMU's virtio-net-pci, of cards that have only one interface and of those that have both. */
export const MODERN = 'iommu_platform=on,disable-legacy=on';
export const TRANSITIONAL = 'iommu_platform=off,disable-legacy=off';
export const LEGACY = 'disable-modern=on,disable-legacy=off';

/** Beyond that, records of the wire are cut off: nobody looks at the bytes of larger segments. */
const LONGEST_FRAME = 9100;

type Given = Partial<Omit<DeviceRow, 'name'>>;

/** A row: by default a card of a machine with a vIOMMU, on the network that QEMU brings itself. */
export function row(name: string, properties: string, given: Given = {}): DeviceRow {
  const nic: VmNic = { bind: false, dump: true, dumpLength: LONGEST_FRAME, ...given.nic, properties };
  return {
    ...{ machine: 'iommu', options: {}, expect: {}, extras: [], without: {} },
    ...{ other: undefined, machineArguments: [], streamMiB: 4 },
    ...given,
    name,
    nic,
  };
}

/** What a row's card goes through. */
export function checksOf({ extras, without }: DeviceRow): CheckName[] {
  return [...COMMON_CHECKS, ...extras].filter((name) => without[name] === undefined);
}
