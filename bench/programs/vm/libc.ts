/** The few calls of the C library that a packet socket takes, and memory whose address is known. */
import koffi from 'koffi';

const libc = koffi.load('libc.so.6');

export const socket = libc.func('int socket(int, int, int)') as (
  domain: number,
  type: number,
  protocol: number,
) => number;
export const bind = libc.func('int bind(int, void *, uint32_t)') as (
  fd: number,
  address: Uint8Array,
  length: number,
) => number;
export const setsockopt = libc.func('int setsockopt(int, int, int, void *, uint32_t)') as (
  fd: number,
  level: number,
  name: number,
  value: Uint8Array | Uint32Array,
  length: number,
) => number;
export const ifNameToIndex = libc.func('uint32_t if_nametoindex(const char *)') as (name: string) => number;
export const recv = libc.func('int64_t recv(int, void *, size_t, int)') as (
  fd: number,
  buffer: Uint8Array,
  length: number,
  flags: number,
) => number;
export const send = libc.func('int64_t send(int, void *, size_t, int)') as (
  fd: number,
  buffer: Uint8Array | null,
  length: number,
  flags: number,
) => number;
export const recvmmsg = libc.func('int recvmmsg(int, void *, uint32_t, int, void *)') as (
  fd: number,
  messages: Uint8Array,
  count: number,
  flags: number,
  timeout: null,
) => number;
export const sendmmsg = libc.func('int sendmmsg(int, void *, uint32_t, int)') as (
  fd: number,
  messages: Uint8Array,
  count: number,
  flags: number,
) => number;
const mmap = libc.func('void *mmap(void *, size_t, int, int, int, int64_t)') as (
  hint: null,
  length: number,
  protection: number,
  flags: number,
  fd: number,
  offset: number,
) => bigint;

const READ_WRITE = 3;
const MAP_SHARED = 1;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

export interface Memory {
  readonly address: bigint;
  readonly buffer: ArrayBuffer;
}

/** Memory of the process; the views of it last as long as the process. */
export const anonymousMemory = (length: number): Memory => map(length, MAP_PRIVATE_ANONYMOUS, -1);

/** The ring that a socket was given. */
export const socketMemory = (fd: number, length: number): Memory => map(length, MAP_SHARED, fd);

function map(length: number, flags: number, fd: number): Memory {
  const address = mmap(null, length, READ_WRITE, flags, fd, 0);
  if (address === MAP_FAILED) throw failure('mmap');
  return { address, buffer: koffi.view(address, length) };
}

/** What a call failed with, from errno. */
export const failure = (call: string): Error => new Error(`${call} failed with errno ${koffi.errno()}`);

export function succeed(status: number, call: string): number {
  if (status < 0) throw failure(call);
  return status;
}
