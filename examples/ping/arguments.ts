import { parseArgs } from 'node:util';
import { formatIpv4, parseIpv4 } from 'virtio-net/packet';

export const USAGE = `usage: ping.ts <pci-address|sim> <target> [OPTION...]

  -c, --count n      stop after so many requests; without it, on Ctrl-C
  -i, --interval s   seconds between requests, 1 by default; 0 sends the next one with each reply, and prints none
  -s, --size bytes   bytes of data in a request, 56 by default
  --source ip        address to send from; by default host 15 of the target's /24
  --polled           poll the card in place of waiting for its interrupts
`;

export interface PingArguments {
  /** A PCI address, or `sim` for the software device. */
  readonly device: string;
  readonly target: Uint8Array;
  readonly source: Uint8Array;
  /** Number of requests; Infinity to go on until interrupted. */
  readonly count: number;
  /** Milliseconds between requests; 0 sends the next one as soon as a reply has come. */
  readonly interval: number;
  /** Bytes of data in a request. */
  readonly size: number;
  readonly polled: boolean;
}

/** Reads the command line; `'help'` if it asks for that. Throws an Error whose message is for the user. */
export function readArguments(words: readonly string[]): PingArguments | 'help' {
  const { values, positionals } = parseArgs({
    args: [...words],
    allowPositionals: true,
    options: {
      source: { type: 'string' },
      count: { type: 'string', short: 'c' },
      interval: { type: 'string', short: 'i', default: '1' },
      size: { type: 'string', short: 's', default: '56' },
      polled: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return 'help';
  if (positionals.length !== 2) throw new Error(`a card and a target are needed\n${USAGE.trimEnd()}`);
  const [device, targetText] = positionals;
  const target = parseIpv4(targetText);
  return {
    device,
    target,
    source: values.source === undefined ? neighbourOf(target) : parseIpv4(values.source),
    count: values.count === undefined ? Infinity : readNumber('count', values.count, 1, 2 ** 31, true),
    interval: readNumber('interval', values.interval, 0, 86400, false) * 1000,
    size: readNumber('size', values.size, 0, 65507, true),
    polled: values.polled,
  };
}

/** A source address for those who name none: host 15 of the target's /24, as user networking hands out. */
function neighbourOf(target: Uint8Array): Uint8Array {
  const neighbour = parseIpv4(formatIpv4(target));
  neighbour[3] = target[3] === 15 ? 16 : 15;
  return neighbour;
}

function readNumber(name: string, text: string, least: number, most: number, whole: boolean): number {
  const value = text.trim() === '' ? NaN : Number(text);
  if (!(value >= least && value <= most) || (whole && !Number.isInteger(value))) {
    throw new Error(
      `invalid --${name} '${text}': ${whole ? 'a whole number' : 'a number'} from ${least} to ${most}`,
    );
  }
  return value;
}
