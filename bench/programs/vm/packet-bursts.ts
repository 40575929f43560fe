/** Bursts of frames through recvmmsg and sendmmsg. */
import type { VmRequest } from './interval.js';
import { anonymousMemory, recvmmsg, sendmmsg } from './libc.js';

const MSG_DONTWAIT = 0x40;
const LONGEST_FRAME = 2048;
/** struct mmsghdr and struct iovec, on 64-bit machines; where the pointer to the latter lies, and their number. */
const MESSAGE_SIZE = 64;
const VECTOR_SIZE = 16;
const MESSAGE_VECTORS = 16;
const MESSAGE_VECTOR_COUNT = 24;

interface Messages {
  /** The array of struct mmsghdr. */
  readonly headers: Uint8Array;
  /** What they point to, a stretch for each message. */
  readonly payloads: Uint8Array;
}

/** Messages of one part each, in memory of known addresses. */
function makeMessages(count: number, length: number): Messages {
  const vectorsAt = count * MESSAGE_SIZE;
  const payloadsAt = vectorsAt + count * VECTOR_SIZE;
  const { address, buffer } = anonymousMemory(payloadsAt + count * LONGEST_FRAME);
  const view = new DataView(buffer);
  for (let i = 0; i < count; i += 1) {
    const header = i * MESSAGE_SIZE;
    const vector = vectorsAt + i * VECTOR_SIZE;
    view.setBigUint64(header + MESSAGE_VECTORS, address + BigInt(vector), true);
    view.setBigUint64(header + MESSAGE_VECTOR_COUNT, 1n, true);
    view.setBigUint64(vector, address + BigInt(payloadsAt + i * LONGEST_FRAME), true);
    view.setBigUint64(vector + 8, BigInt(length), true);
  }
  return { headers: new Uint8Array(buffer, 0, vectorsAt), payloads: new Uint8Array(buffer, payloadsAt) };
}

export function receiveBursts(fd: number, { burst }: VmRequest): () => number {
  const { headers } = makeMessages(burst, LONGEST_FRAME);
  return () => atLeastZero(recvmmsg(fd, headers, burst, MSG_DONTWAIT, null));
}

export function transmitBursts(fd: number, { burst, frameLength }: VmRequest): () => number {
  const { headers, payloads } = makeMessages(burst, frameLength);
  for (let i = 0; i < burst; i += 1) payloads.fill(0xff, i * LONGEST_FRAME, i * LONGEST_FRAME + 6);
  return () => atLeastZero(sendmmsg(fd, headers, burst, MSG_DONTWAIT));
}

const atLeastZero = (count: number): number => (count > 0 ? count : 0);
