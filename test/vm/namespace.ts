/**
 * What is around QEMU for the cards that need more than QEMU brings itself: a network namespace in which they are
 * connected to a Linux network stack of their own, or DPDK behind their sockets. No other process sees it, and it goes
 * when QEMU ends, however it ends.
 */
import { join } from 'node:path';
import { dpdkLines, type VhostSocket } from './dpdk.js';

/** A tap interface, the other end of a card's cable. */
export interface Tap {
  readonly name: string;
  /** The MAC address of the card. */
  readonly mac: string;
  readonly queues: number;
  readonly mtu: number;
  readonly network: TapNetwork;
}

/** The addresses on both ends of a tap's cable. */
export interface TapNetwork {
  /** The tap's. */
  readonly hostIp: string;
  readonly hostIp6: string;
  /** What the card's program is to use. */
  readonly cardIp: string;
  readonly cardIp6: string;
}

/** The addresses of the tap of the card with that number. */
export function tapNetwork(index: number): TapNetwork {
  // A group of zeros would be left out where the kernel writes the address.
  const group = (index + 1).toString(16);
  return {
    hostIp: `10.64.${index}.1`,
    hostIp6: `fd00:64:${group}::1`,
    cardIp: `10.64.${index}.2`,
    cardIp6: `fd00:64:${group}::2`,
  };
}

function tapLines({ name, mac, queues, mtu, network }: Tap): string[] {
  const flags = queues > 1 ? 'vnet_hdr multi_queue' : 'vnet_hdr';
  return [
    `ip tuntap add dev ${name} mode tap ${flags}`,
    `ip link set ${name} mtu ${mtu}`,
    `ip address add ${network.hostIp}/24 dev ${name}`,
    `ip -6 address add ${network.hostIp6}/64 dev ${name} nodad`,
    `ip link set ${name} up`,
    // So that a program without ARP and neighbour discovery can be found.
    `ip neighbour add ${network.cardIp} lladdr ${mac} nud permanent dev ${name}`,
    `ip -6 neighbour add ${network.cardIp6} lladdr ${mac} nud permanent dev ${name}`,
  ];
}

/** The file descriptors that QEMU is given and nobody else must keep open. */
const CLOSE_CHANNELS = '3>&- 4>&- 5>&- 6>&- 7>&-';

/** A program of Node that runs beside QEMU in the namespace, and ends with it. */
const peerLine = (path: string): string =>
  `setpriv --pdeathsig KILL -- "$NODE" ${path} </dev/null >&2 ${CLOSE_CHANNELS} &`;

/** What QEMU is to find around it. */
export interface Surroundings {
  readonly taps: readonly Tap[];
  /** The path of a program for Node that runs beside it. */
  readonly peer: string | undefined;
  /** The folder of DPDK, which serves the sockets. */
  readonly dpdk: string | undefined;
  readonly sockets: readonly VhostSocket[];
}

function setUp({ taps, peer, dpdk, sockets }: Surroundings): string {
  return [
    'set -e',
    'ip link set lo up',
    'echo 1 >/proc/sys/net/ipv4/ip_forward',
    'echo 1 >/proc/sys/net/ipv6/conf/all/forwarding',
    ...taps.flatMap(tapLines),
    ...(peer === undefined ? [] : [peerLine(peer)]),
    ...(dpdk === undefined ? [] : dpdkLines(dpdk, sockets, CLOSE_CHANNELS)),
    'exec "$@"',
  ].join('\n');
}

/** The words to put before a command so that it runs in these surroundings: none if there are none. */
export function inSurroundings(surroundings: Surroundings): string[] {
  if (surroundings.taps.length === 0 && surroundings.sockets.length === 0) return [];
  // Whoever is not root is so in a user namespace.
  const unshare = process.getuid?.() === 0 ? ['unshare'] : ['unshare', '--map-root-user'];
  const shell = ['env', `NODE=${process.execPath}`, 'sh', '-c', setUp(surroundings), 'sh'];
  return [...unshare, '--net', '--', 'setpriv', '--pdeathsig', 'KILL', '--', ...shell];
}

/** Where the program that runs beside QEMU lies in the folder of a run. */
export const peerPath = (folder: string): string => join(folder, 'peer.mjs');
