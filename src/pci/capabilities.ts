/** Walking the list of capabilities in a PCI configuration space (PCI Local Bus Specification 3.0, 6.7). */
import { PciError } from '../errors.js';
import { CAPABILITY_SPACE_END, CONFIG_SPACE, HEADER_SIZE, STATUS_CAPABILITY_LIST } from './config-space.js';
import type { PciFunction } from './pci-function.js';

/** The part of a PCI function that capabilities are read through. */
export type ConfigReader = Pick<PciFunction, 'address' | 'readConfig'>;

/** One entry of the list. */
export interface PciCapability {
  readonly id: number;
  /** Where it begins in the configuration space, in bytes; 4-aligned, from 0x40 to 0xfc. */
  readonly offset: number;
}

/** The two low bits of a pointer are reserved; software has to mask them. */
const POINTER_MASK = 0xfc;
/** Every entry starts at a word of its own, so that a longer list has come around. */
const MOST_ENTRIES = (CAPABILITY_SPACE_END - HEADER_SIZE) / 4;
const ALL_ONES = 0xff;

/**
 * Lists the capabilities of a function in the order of the list; none where it has no list.
 *
 * @throws PciError PCI_CAPABILITY_INVALID when the list leaves its space, or comes around, or reads as all ones
 */
export function listCapabilities(config: ConfigReader): PciCapability[] {
  const found: PciCapability[] = [];
  if ((config.readConfig(CONFIG_SPACE.STATUS, 2) & STATUS_CAPABILITY_LIST) === 0) return found;
  let offset = readPointer(config, CONFIG_SPACE.CAPABILITIES_POINTER);
  while (offset !== 0) {
    if (found.length === MOST_ENTRIES) throw invalid(config, 'never ends: it comes around');
    if (offset < HEADER_SIZE) throw invalid(config, `points into the header, at ${hex(offset)}`);
    const id = config.readConfig(offset, 1);
    if (id === ALL_ONES) throw invalid(config, `reads as all ones at ${hex(offset)}: the device is gone`);
    found.push({ id, offset });
    offset = readPointer(config, offset + 1);
  }
  return found;
}

function readPointer(config: ConfigReader, offset: number): number {
  return config.readConfig(offset, 1) & POINTER_MASK;
}

function invalid(config: ConfigReader, what: string): PciError {
  return new PciError('PCI_CAPABILITY_INVALID', `The capability list of ${config.address} ${what}`);
}

const hex = (value: number): string => `0x${value.toString(16)}`;
