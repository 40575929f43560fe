/** The command line of `npm run vm`. */
import type { VmNic } from './nic.js';
import { DEFAULT_TIMEOUT_SECONDS } from './run-vm.js';

export const USAGE = `Usage: npm run vm -- [OPTION...] -- COMMAND...

Boots a QEMU guest with virtio network cards bound to vfio-pci, runs COMMAND there in /app, where the built
package and its examples are, and ends with its exit status. A COMMAND of one word is a shell command; several
words are taken as they are.

  --nic=PROPERTIES   a card with these further properties of QEMU's virtio-net-pci; again for another one.
                     The first is at 0000:00:10.0, the second at 0000:00:11.0 and so on, unless they name addr=.
                     Default: one card, iommu_platform=on,disable-legacy=on
  --netdev=BACKEND   what the card before it is connected to, as in QEMU's -netdev but without an id.
                     Default: user, a network of QEMU's own: the gateway 10.0.2.2 answers ARP and ping
  --iommu=on|off|noiommu
                     whether the guest has an IOMMU; without one the cards are left without a driver, unless with
                     noiommu VFIO does without. Default: on
  --timeout=SECONDS  end the guest after that time, with status 124. Default: ${DEFAULT_TIMEOUT_SECONDS}
  --help             this text

Other statuses: 2 for a mistake on this command line, 125 if the guest could not be built or booted, or died.

Example: npm run vm -- --nic=packed=on,mq=on -- node examples/ping.js 0000:00:10.0 10.0.2.2 --count 4
`;

/** What is wrong with a command line, in a sentence. */
export class ArgumentError extends Error {}

export interface VmArguments {
  /** Undefined if none was named. */
  readonly nics: readonly VmNic[] | undefined;
  readonly iommu: boolean | 'noiommu';
  readonly timeoutSeconds: number;
  /** A shell command where it is a string. */
  readonly command: string | readonly string[];
}

interface Parsed {
  readonly nics: VmNic[];
  iommu: boolean | 'noiommu';
  timeoutSeconds: number;
}

function parseTimeout(text: string): number {
  const seconds = Number(text);
  // Beyond that, timers of Node end at once.
  const longest = 2 ** 31 / 1000;
  if (/^\d+(\.\d+)?$/.test(text) && seconds > 0 && seconds < longest) return seconds;
  throw new ArgumentError(`--timeout=${text}: name a number of seconds above 0, for example --timeout=60.`);
}

function parseIommu(text: string): boolean | 'noiommu' {
  if (text === 'noiommu') return text;
  if (text === 'on' || text === 'off') return text === 'on';
  throw new ArgumentError(`--iommu=${text}: name on, off or noiommu.`);
}

function setBackend(nics: VmNic[], netdev: string): void {
  const nic = nics.pop();
  if (nic === undefined) throw new ArgumentError('--netdev belongs behind the --nic that it is for.');
  if (netdev === '') throw new ArgumentError('--netdev= names no backend; user is one, for example.');
  nics.push({ ...nic, netdev });
}

function applyOption(parsed: Parsed, name: string, value: string): void {
  switch (name) {
    case '--nic':
      parsed.nics.push({ properties: value });
      break;
    case '--netdev':
      setBackend(parsed.nics, value);
      break;
    case '--iommu':
      parsed.iommu = parseIommu(value);
      break;
    case '--timeout':
      parsed.timeoutSeconds = parseTimeout(value);
      break;
    default:
      throw new ArgumentError(`${name} is not an option; see npm run vm -- --help.`);
  }
}

function applyWord(parsed: Parsed, word: string): void {
  const equals = word.indexOf('=');
  const name = equals === -1 ? word : word.slice(0, equals);
  if (equals === -1 && ['--nic', '--netdev', '--iommu', '--timeout'].includes(name)) {
    throw new ArgumentError(`${name} needs a value: ${name}=VALUE.`);
  }
  applyOption(parsed, name, word.slice(equals + 1));
}

function takeCommand(words: readonly string[]): VmArguments['command'] {
  const first = words.at(0) ?? '';
  if (first === '') {
    throw new ArgumentError('There is no command to run in the guest; see npm run vm -- --help.');
  }
  return words.length === 1 ? first : words;
}

/**
 * Reads the words of a command line; `'help'` if it asks for help.
 *
 * @throws ArgumentError
 */
export function parseArguments(words: readonly string[]): VmArguments | 'help' {
  const end = words.findIndex((word) => word === '--' || !word.startsWith('-'));
  const options = end === -1 ? words : words.slice(0, end);
  if (options.includes('--help') || options.includes('-h')) return 'help';
  const parsed: Parsed = { nics: [], iommu: true, timeoutSeconds: DEFAULT_TIMEOUT_SECONDS };
  for (const word of options) applyWord(parsed, word);
  const rest = end === -1 ? [] : words.slice(words[end] === '--' ? end + 1 : end);
  return { ...parsed, nics: parsed.nics.length > 0 ? parsed.nics : undefined, command: takeCommand(rest) };
}
