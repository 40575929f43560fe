/**
 * The messages of the vhost-user protocol, from the front-end's side: their numbers, and their bytes. All fields are in
 * the byte order of the machine, which is little-endian on all that this library runs on.
 */

/** What a front-end asks of a backend. */
export const REQUEST = {
  GET_FEATURES: 1,
  SET_FEATURES: 2,
  SET_OWNER: 3,
  SET_MEM_TABLE: 5,
  SET_VRING_NUM: 8,
  SET_VRING_ADDR: 9,
  SET_VRING_BASE: 10,
  GET_VRING_BASE: 11,
  SET_VRING_KICK: 12,
  SET_VRING_CALL: 13,
  SET_VRING_ERR: 14,
  GET_PROTOCOL_FEATURES: 15,
  SET_PROTOCOL_FEATURES: 16,
  GET_QUEUE_NUM: 17,
  SET_VRING_ENABLE: 18,
  NET_SET_MTU: 20,
  GET_CONFIG: 24,
  SET_CONFIG: 25,
  RESET_DEVICE: 34,
  SET_STATUS: 39,
  GET_STATUS: 40,
} as const;

export type RequestName = keyof typeof REQUEST;

/** Bits of GET_PROTOCOL_FEATURES that this front-end knows. */
export const PROTOCOL_FEATURE = {
  MQ: 1n << 0n,
  REPLY_ACK: 1n << 3n,
  NET_MTU: 1n << 4n,
  CONFIG: 1n << 9n,
  RESET_DEVICE: 1n << 13n,
  STATUS: 1n << 16n,
} as const;

/** All of {@link PROTOCOL_FEATURE}. */
export const KNOWN_PROTOCOL_FEATURES = Object.values(PROTOCOL_FEATURE).reduce((sum, bit) => sum | bit, 0n);

/** Request, flags and length of the payload, 32 bits each. */
export const HEADER_SIZE = 12;

const VERSION = 1;
const VERSION_MASK = 3;
const REPLY = 1 << 2;
const NEED_REPLY = 1 << 3;
/** In the payload of SET_VRING_KICK, _CALL and _ERR: no file descriptor comes with it. */
const NO_FD = 1 << 8;

/** Offset, size and flags in front of the bytes of a configuration. */
export const CONFIG_HEADER_SIZE = 12;

/** The bytes of a request. */
export function encodeRequest(name: RequestName, payload: Uint8Array, needReply: boolean): Uint8Array {
  const bytes = new Uint8Array(HEADER_SIZE + payload.length);
  new Uint32Array(bytes.buffer, 0, 3).set([
    REQUEST[name],
    VERSION | (needReply ? NEED_REPLY : 0),
    payload.length,
  ]);
  bytes.set(payload, HEADER_SIZE);
  return bytes;
}

/**
 * What is wrong with the header of an answer, in words, or undefined.
 *
 * @param least - shortest payload in bytes that it may announce
 * @param most - longest one
 */
export function faultOfAnswer(
  header: Uint8Array,
  name: RequestName,
  least: number,
  most: number,
): string | undefined {
  const [request, flags, size] = words(header);
  if (request !== REQUEST[name]) return `it answered request ${request}`;
  if ((flags & VERSION_MASK) !== VERSION) return `its answer has version ${flags & VERSION_MASK}`;
  if ((flags & REPLY) === 0) return 'its answer is not marked as one';
  const range = least === most ? String(least) : `${least} to ${most}`;
  return size < least || size > most ? `its answer has ${size} bytes, not ${range}` : undefined;
}

/** Length of the payload that a header announces. */
export function payloadSize(header: Uint8Array): number {
  return words(header)[2];
}

export function encodeU64(value: bigint): Uint8Array {
  return new Uint8Array(BigUint64Array.of(value).buffer);
}

export function decodeU64(bytes: Uint8Array): bigint {
  return new BigUint64Array(bytes.slice(0, 8).buffer)[0];
}

/** struct vhost_vring_state: the number of a queue, and a value. */
export function encodeState(queue: number, value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(queue, value).buffer);
}

export function decodeState(bytes: Uint8Array): { readonly queue: number; readonly value: number } {
  const [queue, value] = words(bytes);
  return { queue, value };
}

/** What SET_VRING_KICK, _CALL and _ERR say beside the file descriptor. */
export function encodeFile(queue: number, hasFd: boolean): Uint8Array {
  return encodeU64(BigInt(queue | (hasFd ? 0 : NO_FD)));
}

/** Where the parts of a ring lie, as user addresses of the front-end. */
export interface RingAddresses {
  readonly descriptors: bigint;
  readonly used: bigint;
  readonly available: bigint;
}

/** struct vhost_vring_addr, with no logging. */
export function encodeAddresses(queue: number, { descriptors, used, available }: RingAddresses): Uint8Array {
  const bytes = new Uint8Array(40);
  new Uint32Array(bytes.buffer, 0, 2).set([queue, 0]);
  new BigUint64Array(bytes.buffer, 8, 4).set([descriptors, used, available, 0n]);
  return bytes;
}

/** A stretch of memory that the backend is to map. */
export interface MemoryTableEntry {
  readonly guestAddress: number;
  readonly userAddress: number;
  readonly size: number;
  /** Where in the file that comes along it begins. */
  readonly offset: number;
}

/** What SET_MEM_TABLE says beside the file descriptors, which come in the same order. */
export function encodeMemoryTable(entries: readonly MemoryTableEntry[]): Uint8Array {
  const bytes = new Uint8Array(8 + 32 * entries.length);
  new Uint32Array(bytes.buffer, 0, 2).set([entries.length, 0]);
  const fields = new BigUint64Array(bytes.buffer, 8);
  for (const [index, { guestAddress, size, userAddress, offset }] of entries.entries()) {
    fields.set([guestAddress, size, userAddress, offset].map(BigInt), 4 * index);
  }
  return bytes;
}

/** GET_CONFIG asks with as many bytes as it wants to get; SET_CONFIG carries those to write. */
export function encodeConfig(offset: number, content: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(CONFIG_HEADER_SIZE + content.length);
  new Uint32Array(bytes.buffer, 0, 3).set([offset, content.length, 0]);
  bytes.set(content, CONFIG_HEADER_SIZE);
  return bytes;
}

function words(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(bytes.slice(0, bytes.length - (bytes.length % 4)).buffer);
}
