/** Rings that are shared with the kernel: PACKET_MMAP, TPACKET_V3 to receive and TPACKET_V2 to send. */
import type { VmRequest } from './interval.js';
import { send, setsockopt, socketMemory, succeed } from './libc.js';

const SOL_PACKET = 263;
const PACKET_RX_RING = 5;
const PACKET_VERSION = 10;
const PACKET_TX_RING = 13;
const TPACKET_V2 = 1;
const TPACKET_V3 = 2;
const MSG_DONTWAIT = 0x40;

const BLOCK_SIZE = 1 << 18;
const BLOCKS = 16;
const FRAME_SIZE = 2048;
/** Milliseconds after which the kernel hands over a block that is not full. */
const RETIRE_AFTER = 1;
/** Words of a block's header (struct tpacket_block_desc), and of the header of a frame in it. */
const BLOCK_STATUS = 2;
const BLOCK_FRAMES = 3;
const STATUS_USER = 1;

/** Takes the frames of one block, as far as the kernel has handed one over. */
export function receiveRing(fd: number): () => number {
  succeed(setsockopt(fd, SOL_PACKET, PACKET_VERSION, Uint32Array.of(TPACKET_V3), 4), 'setsockopt');
  const perBlock = BLOCK_SIZE / FRAME_SIZE;
  const ring = Uint32Array.of(BLOCK_SIZE, BLOCKS, FRAME_SIZE, BLOCKS * perBlock, RETIRE_AFTER, 0, 0);
  succeed(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, ring, ring.byteLength), 'setsockopt');
  const words = new Int32Array(socketMemory(fd, BLOCK_SIZE * BLOCKS).buffer);
  const wordsPerBlock = BLOCK_SIZE / 4;
  let block = 0;
  return () => {
    const at = block * wordsPerBlock;
    if ((Atomics.load(words, at + BLOCK_STATUS) & STATUS_USER) === 0) return 0;
    const frames = walk(words, at);
    Atomics.store(words, at + BLOCK_STATUS, 0);
    block = (block + 1) % BLOCKS;
    return frames;
  };
}

const FIRST_FRAME = 4;
const NEXT_OFFSET = 0;
const CAPTURED_LENGTH = 3;

/** Looks at the header of each frame of a block, as a program does that wants the frames. */
function walk(words: Int32Array, block: number): number {
  const count = words[block + BLOCK_FRAMES];
  let at = block + (words[block + FIRST_FRAME] >>> 2);
  let seen = 0;
  for (let i = 0; i < count; i += 1) {
    if (words[at + CAPTURED_LENGTH] > 0) seen += 1;
    at += words[at + NEXT_OFFSET] >>> 2;
  }
  return seen;
}

const SEND_FRAMES = 256;
const SEND_STATUS = 0;
const SEND_LENGTH = 1;
const STATUS_AVAILABLE = 0;
const STATUS_SEND_REQUEST = 1;
/** Where the bytes of a frame begin behind struct tpacket2_hdr. */
const SEND_DATA = 32;

export function transmitRing(fd: number, { burst, frameLength }: VmRequest): () => number {
  succeed(setsockopt(fd, SOL_PACKET, PACKET_VERSION, Uint32Array.of(TPACKET_V2), 4), 'setsockopt');
  const ring = Uint32Array.of(4096, (SEND_FRAMES * FRAME_SIZE) / 4096, FRAME_SIZE, SEND_FRAMES);
  succeed(setsockopt(fd, SOL_PACKET, PACKET_TX_RING, ring, ring.byteLength), 'setsockopt');
  const { buffer } = socketMemory(fd, SEND_FRAMES * FRAME_SIZE);
  const words = new Int32Array(buffer);
  const bytes = new Uint8Array(buffer);
  const frame = new Uint8Array(frameLength).fill(0xff, 0, 6);
  let next = 0;
  return () => {
    let count = 0;
    while (count < burst && Atomics.load(words, (next * FRAME_SIZE) / 4 + SEND_STATUS) === STATUS_AVAILABLE) {
      const at = next * FRAME_SIZE;
      bytes.set(frame, at + SEND_DATA);
      words[at / 4 + SEND_LENGTH] = frameLength;
      Atomics.store(words, at / 4 + SEND_STATUS, STATUS_SEND_REQUEST);
      next = (next + 1) % SEND_FRAMES;
      count += 1;
    }
    send(fd, null, 0, MSG_DONTWAIT);
    return count;
  };
}
