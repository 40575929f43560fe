/**
 * A Node program over AF_PACKET, through koffi: one frame for each call, bursts of them (recvmmsg, sendmmsg), or a ring
 * that it shares with the kernel (PACKET_MMAP). Argument and answer: interval.ts.
 */
import { measureInterval, readRequest, type VmRequest } from './interval.js';
import { bind, failure, ifNameToIndex, recv, send, setsockopt, socket, succeed } from './libc.js';
import { receiveBursts, transmitBursts } from './packet-bursts.js';
import { receiveRing, transmitRing } from './packet-ring.js';

const AF_PACKET = 17;
const SOCK_RAW = 3;
/** ETH_P_ALL in network order; with 0 a socket receives nothing. */
const ALL_PROTOCOLS = 0x0300;
const SOL_SOCKET = 1;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const SOL_PACKET = 263;
const PACKET_QDISC_BYPASS = 20;
const MSG_DONTWAIT = 0x40;
const SOCKET_BUFFER = 8 << 20;
const LONGEST_FRAME = 2048;

const word = (value: number): Uint32Array => Uint32Array.of(value);

/** struct sockaddr_ll: family, protocol, interface. */
function linkAddress(card: string, protocol: number): Uint8Array {
  const address = new DataView(new ArrayBuffer(20));
  address.setUint16(0, AF_PACKET, true);
  address.setUint16(2, protocol, true);
  address.setInt32(4, ifNameToIndex(card), true);
  return new Uint8Array(address.buffer);
}

function openSocket({ direction }: VmRequest): number {
  const fd = succeed(socket(AF_PACKET, SOCK_RAW, 0), 'socket');
  succeed(setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, word(SOCKET_BUFFER), 4), 'setsockopt');
  succeed(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, word(SOCKET_BUFFER), 4), 'setsockopt');
  if (direction === 'transmit')
    succeed(setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, word(1), 4), 'setsockopt');
  return fd;
}

function attach(fd: number, { card, direction }: VmRequest): void {
  const address = linkAddress(card, direction === 'receive' ? ALL_PROTOCOLS : 0);
  succeed(bind(fd, address, address.length), 'bind');
}

function receiveOneByOne(fd: number): () => number {
  const buffer = new Uint8Array(LONGEST_FRAME);
  return () => (recv(fd, buffer, LONGEST_FRAME, MSG_DONTWAIT) > 0 ? 1 : 0);
}

function transmitOneByOne(fd: number, { frameLength }: VmRequest): () => number {
  const frame = new Uint8Array(frameLength).fill(0xff, 0, 6);
  return () => (send(fd, frame, frameLength, MSG_DONTWAIT) > 0 ? 1 : 0);
}

type Way = (fd: number, request: VmRequest) => () => number;

const WAYS: Readonly<Record<string, Readonly<Record<VmRequest['direction'], Way>>>> = {
  single: { receive: receiveOneByOne, transmit: transmitOneByOne },
  bursts: { receive: receiveBursts, transmit: transmitBursts },
  ring: { receive: receiveRing, transmit: transmitRing },
};

const request = readRequest();
const fd = openSocket(request);
const way = WAYS[request.way ?? 'single'];
// A ring is made before frames arrive.
const step = way[request.direction](fd, request);
attach(fd, request);
const answer = measureInterval(step, request);
if (answer.frames === 0) throw failure(`${request.direction}, ${request.way ?? ''},`);
console.log(JSON.stringify(answer));
