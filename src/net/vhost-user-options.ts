/** Options of a device behind a vhost-user socket. */
import { UsageError } from '../errors.js';
import { parseMac } from '../packet/address.js';
import { checkInteger, describe, LONGEST_TIMEOUT, requireBoolean, requireFields } from './arguments.js';

/** How to open a device at `vhost-user:/path`. All fields are optional. */
export interface VhostUserOptions {
  /**
   * Make the socket, for this user alone, and wait there for the backend to connect, until `signal` ends that; by
   * default the backend has made it, and this side connects.
   */
  readonly server?: boolean;
  /** Go on when the backend has ended and is back (the default), or take the device to be gone when it ends. */
  readonly reconnect?: boolean;
  /** Milliseconds to wait for the backend to answer a request, 2000 by default. */
  readonly timeout?: number;
  /** MAC address of the card, as text; by default the one that the backend tells, or a random one. */
  readonly mac?: string;
  /** MTU of the card in bytes, told to a backend that wants to know it; by default what the backend tells, or 1500. */
  readonly mtu?: number;
}

/** The options with the defaults filled in. */
export interface VhostUserSettings {
  readonly server: boolean;
  readonly reconnect: boolean;
  readonly timeout: number;
  readonly mac: Uint8Array | undefined;
  readonly mtu: number | undefined;
}

const NAMES: readonly string[] = [
  'server',
  'reconnect',
  'timeout',
  'mac',
  'mtu',
] satisfies (keyof VhostUserOptions)[];
/** The smallest MTU that a device may tell (VIRTIO 1.3, 5.1.4.1). */
const LEAST_MTU = 68;
const MOST_MTU = 65535;
const MULTICAST = 1;

/** @throws UsageError OPTION_INVALID, ADDRESS_MALFORMED */
export function checkVhostUserOptions(options: VhostUserOptions): VhostUserSettings {
  requireFields('The option vhostUser', options, NAMES);
  const { server = false, reconnect = true, timeout = 2000, mac, mtu } = options;
  requireBoolean('vhostUser.server', server);
  requireBoolean('vhostUser.reconnect', reconnect);
  return {
    server,
    reconnect,
    timeout: checkInteger('vhostUser.timeout', timeout, 1, LONGEST_TIMEOUT),
    mac: mac === undefined ? undefined : checkMac(mac),
    mtu: mtu === undefined ? undefined : checkInteger('vhostUser.mtu', mtu, LEAST_MTU, MOST_MTU),
  };
}

function checkMac(mac: unknown): Uint8Array {
  const bytes = typeof mac === 'string' ? parseMac(mac) : undefined;
  if (bytes !== undefined && (bytes[0] & MULTICAST) === 0) return bytes;
  throw new UsageError('OPTION_INVALID', `vhostUser.mac is ${describe(mac)}`, {
    remedy: 'Give the text of an address of one card, such as 02:00:00:00:00:01.',
  });
}
