/** What makes the device a network card: frames in and out of its two queues (VIRTIO 1.3, 5.1.6). */
import type { Chain } from './chain.js';
import type { DeviceQueue } from './device-queue.js';
import { DriverViolation } from './violation.js';

/** The virtqueues of a network device without multiqueue (VIRTIO 1.3, 5.1.2). */
export const RECEIVE_QUEUE = 0;
export const TRANSMIT_QUEUE = 1;

/** Length of struct virtio_net_hdr with VIRTIO_F_VERSION_1, in bytes. */
export const NET_HEADER_LENGTH = 12;

const ETHERNET_HEADER = 14;
const FLAGS = 0;
const GSO_TYPE = 1;
const NUM_BUFFERS = 10;

/** Length of the longest frame for an MTU: with an Ethernet header and a VLAN tag. */
export function longestFrame(mtu: number): number {
  return mtu + 18;
}

/** The transmit queue's work: takes frames from the driver. */
export class Transmitter {
  readonly #queue: DeviceQueue;
  readonly #frameLimit: () => number;
  #taken: Chain[] = [];

  /** @param frameLimit - gives the length of the longest frame that the driver may send, in bytes */
  constructor(queue: DeviceQueue, frameLimit: () => number) {
    this.#queue = queue;
    this.#frameLimit = frameLimit;
  }

  /** Takes all that is available; the buffers stay the device's until `release()`. */
  take(): Uint8Array[] {
    const frames: Uint8Array[] = [];
    do {
      for (let chain = this.#queue.take(); chain !== undefined; chain = this.#queue.take()) {
        frames.push(this.#frameOf(chain));
        this.#taken.push(chain);
      }
    } while (this.#queue.armNotifications());
    return frames;
  }

  /** Returns all buffers that were taken; the driver sees it when the queue is published. */
  release(): void {
    const taken = this.#taken;
    this.#taken = [];
    for (const chain of taken) this.#queue.complete(chain, new Uint8Array(0));
  }

  #frameOf(chain: Chain): Uint8Array {
    if (chain.writableLength > 0) {
      throw new DriverViolation(`the transmit buffer of ${chain.name} has a device-writable part`);
    }
    if (chain.readable.length < NET_HEADER_LENGTH + ETHERNET_HEADER) {
      const has = `${chain.readable.length} bytes`;
      throw new DriverViolation(`the transmit buffer of ${chain.name} has ${has}: too few for both headers`);
    }
    checkHeader(chain);
    const frame = chain.readable.subarray(NET_HEADER_LENGTH);
    const limit = this.#frameLimit();
    if (frame.length <= limit) return frame;
    throw new DriverViolation(`the driver sent a frame of ${frame.length} bytes: the limit is ${limit}`);
  }
}

/** VIRTIO 1.3, 5.1.6.2.1: no offload is negotiated. */
function checkHeader({ name: chain, readable }: Chain): void {
  const numBuffers = readable[NUM_BUFFERS] | (readable[NUM_BUFFERS + 1] << 8);
  const fields = { flags: readable[FLAGS], gso_type: readable[GSO_TYPE], num_buffers: numBuffers };
  for (const [name, value] of Object.entries(fields)) {
    if (value === 0) continue;
    throw new DriverViolation(`${name} is ${value} in the header of transmit ${chain}, but must be 0`);
  }
}

/** The receive queue's work: gives frames to the driver. */
export class Receiver {
  readonly #queue: DeviceQueue;
  readonly #mergeable: boolean;
  /** Buffers that the device owns, the oldest first. */
  #taken: Chain[] = [];

  /** @param mergeable - whether VIRTIO_NET_F_MRG_RXBUF was negotiated */
  constructor(queue: DeviceQueue, mergeable: boolean) {
    this.#queue = queue;
    this.#mergeable = mergeable;
  }

  /** Takes all buffers that are available, and asks for a notification only where there are none. */
  take(): void {
    do {
      for (let chain = this.#queue.take(); chain !== undefined; chain = this.#queue.take()) {
        this.#taken.push(checkedReceiveBuffer(chain));
      }
    } while (this.#taken.length === 0 && this.#queue.armNotifications());
    if (this.#taken.length > 0) this.#queue.disarmNotifications();
  }

  /** Gives the driver a frame; false if it has no room for it. */
  deliver(frame: Uint8Array): boolean {
    this.take();
    const length = NET_HEADER_LENGTH + frame.length;
    const count = this.#buffersFor(length);
    if (count === undefined) return false;
    this.#fill(this.#taken.splice(0, count), packetOf(frame, count));
    // Whoever took the last buffer asks for the next.
    this.take();
    return true;
  }

  #buffersFor(length: number): number | undefined {
    const usable = this.#mergeable ? this.#taken.length : Math.min(1, this.#taken.length);
    let room = 0;
    for (let count = 1; count <= usable; count++) {
      room += this.#taken[count - 1].writableLength;
      if (room >= length) return count;
    }
    return undefined;
  }

  #fill(chains: readonly Chain[], packet: Uint8Array): void {
    let at = 0;
    for (const chain of chains) {
      this.#queue.complete(chain, packet.subarray(at, at + chain.writableLength));
      at += chain.writableLength;
    }
  }
}

function checkedReceiveBuffer(chain: Chain): Chain {
  if (chain.readable.length > 0) {
    throw new DriverViolation(`the receive buffer of ${chain.name} has a device-readable part`);
  }
  if (chain.writableLength >= NET_HEADER_LENGTH) return chain;
  const has = `${chain.writableLength} bytes`;
  throw new DriverViolation(`the receive buffer of ${chain.name} has ${has}: too few for the header`);
}

/** The frame with its header (VIRTIO 1.3, 5.1.6.4). */
function packetOf(frame: Uint8Array, numBuffers: number): Uint8Array {
  const packet = new Uint8Array(NET_HEADER_LENGTH + frame.length);
  packet.set([numBuffers & 0xff, numBuffers >> 8], NUM_BUFFERS);
  packet.set(frame, NET_HEADER_LENGTH);
  return packet;
}
