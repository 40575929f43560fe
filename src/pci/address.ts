/** PCI addresses as text, in the one form that sysfs uses for its file names. */
import { PciError } from '../errors.js';

const PATTERN = /^(?:([0-9a-f]{1,8}):)?([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-7])$/i;
const HIGHEST_DEVICE = 0x1f;

/**
 * Brings a PCI address into the form of sysfs: `0000:00:10.0`, in lower case, with its domain.
 *
 * A domain may be left out (it is 0 then) and have up to 8 hexadecimal digits. What this returns is safe as a
 * file name: it holds hexadecimal digits, colons and a dot, and nothing else.
 *
 * @throws PciError PCI_ADDRESS_MALFORMED
 */
export function parsePciAddress(text: string): string {
  const parts = typeof text === 'string' ? PATTERN.exec(text) : null;
  if (parts === null) throw malformed(text);
  const [, domain = '0', bus = '', device = '', fn = ''] = parts;
  const deviceNumber = parseInt(device, 16);
  if (deviceNumber > HIGHEST_DEVICE) throw malformed(text);
  return `${hex(parseInt(domain, 16), 4)}:${hex(parseInt(bus, 16), 2)}:${hex(deviceNumber, 2)}.${fn}`;
}

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');

function malformed(text: unknown): PciError {
  const shown = typeof text === 'string' ? JSON.stringify(text.slice(0, 80)) : typeof text;
  return new PciError('PCI_ADDRESS_MALFORMED', `${shown} is not a PCI address`);
}
