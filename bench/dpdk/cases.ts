/** What is measured with DPDK's backend: what each side does in each case, in which shapes of rings and frames. */

export type CaseName = 'receive' | 'transmit' | 'loop' | 'forward';

/** What our program does, see ../programs/frames.ts. */
export type FrameMode = 'receive' | 'transmit' | 'transmit-fresh' | 'forward';

export interface TrafficCase {
  readonly name: CaseName;
  /** The forwarding modes of testpmd in the place of the backend, and of the driver. */
  readonly backendMode: string;
  readonly peerMode: string;
  /** How the backend is started. */
  readonly start: string;
  /** What is counted, at the backend: frames that it has given to the driver, or taken from it. */
  readonly counted: 'received' | 'sent';
  /** What our programs do, and how the table calls that. */
  readonly ours: readonly { readonly mode: FrameMode; readonly row: string }[];
  /** What the backend is told of a frame's length beyond that length: one mode takes it to include the FCS. */
  readonly extraLength: number;
}

export const CASES: readonly TrafficCase[] = [
  {
    name: 'receive',
    backendMode: 'txonly',
    peerMode: 'rxonly',
    start: 'start',
    counted: 'sent',
    ours: [{ mode: 'receive', row: 'receive' }],
    extraLength: 0,
  },
  {
    name: 'transmit',
    backendMode: 'rxonly',
    peerMode: 'txonly',
    start: 'start',
    counted: 'received',
    ours: [
      { mode: 'transmit-fresh', row: 'transmit, each frame written' },
      { mode: 'transmit', row: 'transmit, buffers as they are' },
    ],
    extraLength: 0,
  },
  {
    name: 'forward',
    backendMode: 'flowgen',
    peerMode: 'io',
    start: 'start',
    counted: 'received',
    ours: [{ mode: 'forward', row: 'forward' }],
    extraLength: 4,
  },
  {
    name: 'loop',
    backendMode: 'io',
    peerMode: 'io',
    // More than the rings hold: what there is no room for is lost, and what is left goes round for ever.
    start: 'start tx_first 32',
    counted: 'received',
    ours: [{ mode: 'forward', row: 'loop' }],
    extraLength: 0,
  },
];

/** What is negotiated, by all drivers alike: a feature that one of them had alone would be compared with it. */
export interface RingShape {
  readonly packed: boolean;
  /** VIRTIO_F_IN_ORDER: buffers are used in the order in which they were made available. */
  readonly inOrder: boolean;
  readonly mergeable: boolean;
}

export const SHAPES: readonly RingShape[] = [
  { packed: false, inOrder: false, mergeable: false },
  { packed: true, inOrder: false, mergeable: false },
  { packed: false, inOrder: true, mergeable: false },
  { packed: true, inOrder: true, mergeable: false },
  { packed: false, inOrder: false, mergeable: true },
  { packed: true, inOrder: false, mergeable: true },
];

export const SIZES = [64, 512, 1514] as const;
export const RING_SIZE = 256;
export const BURST = 32;

export function shapeName({ packed, inOrder, mergeable }: RingShape): string {
  return `${packed ? 'packed' : 'split'}${inOrder ? ', in order' : ''}${mergeable ? ', mergeable' : ''}`;
}

const flag = (value: boolean): string => (value ? '1' : '0');

/** DPDK's driver as a virtual device of testpmd. */
export function virtioUser(socket: string, shape: RingShape, vectorized: boolean): string {
  const { packed, inOrder, mergeable } = shape;
  const options = [
    ...['net_virtio_user0', 'mac=52:54:00:00:00:01', `path=${socket}`, 'queues=1', `queue_size=${RING_SIZE}`],
    ...[`packed_vq=${flag(packed)}`, `mrg_rxbuf=${flag(mergeable)}`],
    ...[`in_order=${flag(inOrder)}`, ...(vectorized ? ['vectorized=1'] : [])],
  ];
  return options.join(',');
}

/** Arguments of DPDK with which its vectorised path is chosen. */
export const VECTOR_ARGUMENTS: readonly string[] = ['--force-max-simd-bitwidth=512'];

/** DPDK's backend for a number of drivers, each with a socket of its own. */
export function vhostDevices(sockets: readonly string[]): string[] {
  return sockets.map((socket, index) => `net_vhost${index},iface=${socket},queues=1`);
}
