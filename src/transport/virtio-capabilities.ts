/**
 * Finding the virtio structures of a PCI function (VIRTIO 1.3, 4.1.4).
 *
 * Each vendor-specific capability says of one structure in which BAR it lies, where, and how long it is. All of
 * this comes from the device, so each number is checked against the BAR before it is used. Structures that are
 * of no use here are passed over: shared memory, vendor data, and the window onto the BARs in configuration
 * space, which VFIO makes unnecessary.
 */
import { PciError } from '../errors.js';
import { listCapabilities } from '../pci/capabilities.js';
import { CAPABILITY_SPACE_END, VENDOR_SPECIFIC } from '../pci/config-space.js';
import type { PciFunction } from '../pci/pci-function.js';

/** The part of a PCI function that its structures are found through. */
export type StructureSource = Pick<PciFunction, 'address' | 'readConfig' | 'barSize'>;

/** Where a structure lies. It lies within the BAR. */
export interface VirtioStructure {
  readonly bar: number;
  /** In bytes from the start of the BAR, aligned as the structure needs it. */
  readonly offset: number;
  /** In bytes, as the device says: at least what the driver needs, and maybe much more. */
  readonly length: number;
}

/** Where notifications are written (VIRTIO 1.3, 4.1.4.4). */
export interface NotifyStructure extends VirtioStructure {
  /** The address of a queue is `offset + queue_notify_off * multiplier`; even, or 0. */
  readonly multiplier: number;
}

/** The structures of a device. */
export interface VirtioStructures {
  readonly common: VirtioStructure;
  readonly notify: NotifyStructure;
  readonly isr: VirtioStructure;
  /** Undefined where the device has no configuration of its own. */
  readonly device: VirtioStructure | undefined;
}

interface StructureKind {
  readonly name: string;
  /** The cfg_type of the capability. */
  readonly type: number;
  /** What the specification demands of the offset, in bytes. */
  readonly alignment: number;
  /** The least length that the driver can work with, in bytes. */
  readonly minimum: number;
  /** How long the capability itself is at least, in bytes. */
  readonly capabilityLength: number;
}

const COMMON: StructureKind = {
  name: 'common configuration',
  type: 1,
  alignment: 4,
  minimum: 56,
  capabilityLength: 16,
};
const NOTIFY: StructureKind = {
  name: 'notification',
  type: 2,
  alignment: 2,
  minimum: 2,
  capabilityLength: 20,
};
const ISR: StructureKind = { name: 'ISR status', type: 3, alignment: 1, minimum: 1, capabilityLength: 16 };
const DEVICE: StructureKind = {
  name: 'device configuration',
  type: 4,
  alignment: 4,
  minimum: 1,
  capabilityLength: 16,
};

/** Offsets in struct virtio_pci_cap and struct virtio_pci_notify_cap. */
const FIELD = { LENGTH_OF_CAPABILITY: 2, TYPE: 3, BAR: 4, OFFSET: 8, LENGTH: 12, MULTIPLIER: 16 } as const;
/** Higher values of the BAR field are reserved. */
const HIGHEST_BAR = 5;

/** A structure, or the reason why it can not be used, or undefined where it has to be ignored. */
type Parsed<T> = T | string | undefined;
type Parser<T> = (source: StructureSource, at: number) => Parsed<T>;

/** Types beyond these are reserved, or of no use here; capabilities of a reserved type are to be ignored (4.1.4). */
const STRUCTURE_TYPES = new Set([COMMON, NOTIFY, ISR, DEVICE].map(({ type }) => type));

/**
 * Whether a function has any of the structures. One with the legacy interface alone has none, though it may have
 * vendor-specific capabilities of other kinds.
 */
export function hasVirtioStructures(source: StructureSource): boolean {
  return vendorCapabilities(source).some((at) => STRUCTURE_TYPES.has(source.readConfig(at + FIELD.TYPE, 1)));
}

/**
 * Finds the structures of a function, taking the first usable one of each type.
 *
 * @throws PciError PCI_CAPABILITY_INVALID, which says what is missing, or wrong with what is there;
 *   PCI_INTERFACE_ABSENT if there is no structure at all
 */
export function findVirtioStructures(source: StructureSource): VirtioStructures {
  if (!hasVirtioStructures(source)) throw noModernInterface(source);
  const offsets = vendorCapabilities(source);
  return {
    common: required(source, COMMON, firstUsable(source, offsets, COMMON, parserFor(COMMON))),
    notify: required(source, NOTIFY, firstUsable(source, offsets, NOTIFY, parseNotify)),
    isr: required(source, ISR, firstUsable(source, offsets, ISR, parserFor(ISR))),
    device: firstUsable(source, offsets, DEVICE, parserFor(DEVICE)),
  };
}

/** Where the vendor-specific capabilities are. */
function vendorCapabilities(source: StructureSource): number[] {
  return listCapabilities(source)
    .filter((capability) => capability.id === VENDOR_SPECIFIC)
    .map((capability) => capability.offset);
}

/** The first usable structure of a kind; undefined where the function has none of that kind. */
function firstUsable<T extends VirtioStructure>(
  source: StructureSource,
  offsets: readonly number[],
  kind: StructureKind,
  parse: Parser<T>,
): T | undefined {
  const reasons: string[] = [];
  for (const at of offsets) {
    if (source.readConfig(at + FIELD.TYPE, 1) !== kind.type) continue;
    const parsed = parse(source, at);
    if (typeof parsed === 'object') return parsed;
    if (parsed !== undefined) reasons.push(`at ${hex(at)} ${parsed}`);
  }
  if (reasons.length === 0) return undefined;
  throw invalid(source, `has no usable ${kind.name} structure: the capability ${reasons.join('; the one ')}`);
}

function required<T>(source: StructureSource, kind: StructureKind, structure: T | undefined): T {
  if (structure === undefined) throw invalid(source, `has no ${kind.name} structure`);
  return structure;
}

const parserFor =
  (kind: StructureKind): Parser<VirtioStructure> =>
  (source, at) =>
    parseStructure(source, at, kind);

function parseStructure(source: StructureSource, at: number, kind: StructureKind): Parsed<VirtioStructure> {
  const capabilityLength = source.readConfig(at + FIELD.LENGTH_OF_CAPABILITY, 1);
  if (capabilityLength < kind.capabilityLength) {
    return `is ${capabilityLength} bytes long, less than the ${kind.capabilityLength} of its fields`;
  }
  if (at + kind.capabilityLength > CAPABILITY_SPACE_END) return 'runs out of the configuration space';
  const bar = source.readConfig(at + FIELD.BAR, 1);
  if (bar > HIGHEST_BAR) return undefined;
  const offset = source.readConfig(at + FIELD.OFFSET, 4);
  const length = source.readConfig(at + FIELD.LENGTH, 4);
  return checkPlace(source, kind, bar, offset, length) ?? { bar, offset, length };
}

/** Two 32-bit numbers add up exactly in a double, so that the sum can not wrap around. */
function checkPlace(
  source: StructureSource,
  kind: StructureKind,
  bar: number,
  offset: number,
  length: number,
): string | undefined {
  const size = source.barSize(bar);
  if (size === 0) return `names BAR ${bar}, which the function does not have`;
  if (offset % kind.alignment !== 0)
    return `has the offset ${hex(offset)}, not a multiple of ${kind.alignment}`;
  if (length < kind.minimum) return `has the length ${length}; ${kind.minimum} bytes is the least`;
  if (offset + length <= size) return undefined;
  return `reaches to ${hex(offset + length)}, beyond the end of BAR ${bar} at ${hex(size)}`;
}

function parseNotify(source: StructureSource, at: number): Parsed<NotifyStructure> {
  const structure = parseStructure(source, at, NOTIFY);
  if (typeof structure !== 'object') return structure;
  const multiplier = source.readConfig(at + FIELD.MULTIPLIER, 4);
  if (multiplier % 2 !== 0) return `has the odd notify_off_multiplier ${multiplier}`;
  return { ...structure, multiplier };
}

function invalid(source: StructureSource, what: string): PciError {
  return new PciError('PCI_CAPABILITY_INVALID', `${source.address} ${what}`);
}

function noModernInterface(source: StructureSource): PciError {
  return new PciError(
    'PCI_INTERFACE_ABSENT',
    `${source.address} has no virtio structures: it has no modern interface`,
    {
      remedy:
        "Leave { pciInterface } at 'auto', or give the device its modern interface (in QEMU, disable-modern=off).",
    },
  );
}

const hex = (value: number): string => `0x${value.toString(16)}`;
