/** What the host and the program in the guest tell each other about a row of the table. */
import type { FeatureName, NetDeviceOptions } from 'virtio-net';

/** The checks that every card goes through, in this order. */
export const COMMON_CHECKS = [
  /** It opens, starts, and its neighbour answers. */
  'open',
  /** It is what it was made to be: interface, features, MTU, queue pairs. */
  'features',
  /** Echo requests, several under way, and a reply to each. */
  'ping',
  /** Echo requests of every length; the host compares what the program saw with what crossed the wire. */
  'bytes',
  /** The hypervisor pulls the cable and plugs it in again. */
  'link',
  /** Stopped, started, and traffic goes on. */
  'restart',
  /** Reset while it runs, and brought back. */
  'reset',
  /** Nothing is left behind, and the driver from before has the card again. */
  'close',
  /** That driver, the kernel's, gets an answer through it. */
  'kernel',
] as const;

/** The checks that some rows have besides. */
export const EXTRA_CHECKS = [
  /** TCP with a Linux kernel, a stream each way, compared by digest. */
  'tcp',
  'tcp6',
  /** What was sent to be segmented and completed by the device arrives at another card, whole and in plain frames. */
  'crossing',
  /** All queue pairs carry traffic. */
  'pairs',
  /** Frames are steered by the hash of their flow, as our own computation has it. */
  'steering',
  /** Frames that must and must not arrive. */
  'filters',
  /** Two functions of a slot, which are one group, at the same time. */
  'siblings',
  /** One queue is reset while the others go on. */
  'queue-reset',
] as const;

export type CheckName = (typeof COMMON_CHECKS)[number] | (typeof EXTRA_CHECKS)[number];

/** Addresses of the card and of who answers it. */
export interface Wire {
  readonly cardIp: string;
  readonly peerIp: string;
  /** Undefined on a wire without IPv6. */
  readonly cardIp6?: string | undefined;
  readonly peerIp6?: string | undefined;
}

/** What is expected of an open card. */
export interface Expectations {
  /** Which way the driver reaches it: the transport's `kind`. */
  readonly transport?: 'pci-modern' | 'pci-legacy';
  readonly has?: readonly FeatureName[];
  readonly lacks?: readonly FeatureName[];
  /** Largest payload of a frame. */
  readonly mtu?: number;
  readonly queuePairs?: number;
}

/** What the program in the guest is told of a card. */
export interface SuiteCard {
  readonly row: string;
  /** Its PCI address. */
  readonly address: string;
  readonly options: NetDeviceOptions;
  readonly expect: Expectations;
  readonly wire: Wire;
  /** The driver that has the card before and afterwards. */
  readonly driver: string;
  readonly checks: readonly CheckName[];
  /** Length of TCP streams over IPv4 whose segments are larger than frames. */
  readonly streamMiB: number;
  /** A second card, for checks that need two. */
  readonly other?: { readonly address: string; readonly wire: Wire } | undefined;
}

/** Numbers and words that say what a check saw. */
export type Figures = Readonly<Record<string, number | string | boolean>>;

/** The outcome of a check, as the guest reports it, a line of JSON each. */
export interface CheckReport {
  readonly row: string;
  readonly check: CheckName;
  readonly passed: boolean;
  readonly figures: Figures;
  /** What went wrong. */
  readonly reason?: string;
}

/** The program asks the hypervisor for something by such a line. */
export interface HostRequest {
  readonly row: string;
  readonly host: 'link-down' | 'link-up';
}

/** The identifier of the echo requests whose bytes are compared with the recording of the wire. */
export const BYTES_IDENTIFIER = 0xb17e;
/** Ports of the program that runs in the namespace: see peer.ts. */
export const PEER_PORT = { sink: 7001, source: 7002, flows: 7003 } as const;
