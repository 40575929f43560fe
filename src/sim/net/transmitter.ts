/** A transmit queue's work: takes frames from the driver (VIRTIO 1.3, 5.1.6.2). */
import type { Chain } from '../chain.js';
import type { DeviceQueue } from '../device-queue.js';
import { DriverViolation } from '../violation.js';
import { checkHeaderFraming } from './framing.js';
import { readHeader } from './header.js';
import { offloadIn, type FrameOffload } from './offload.js';
import type { NetRules } from './rules.js';
import { checkSentFrame } from './transmit-rules.js';

const ETHERNET_HEADER = 14;

/** A frame as the driver gave it. */
export interface TakenFrame {
  readonly frame: Uint8Array;
  readonly offload: FrameOffload;
}

export class Transmitter {
  readonly #queue: DeviceQueue;
  readonly #rules: NetRules;
  readonly #frameLimit: () => number;
  #taken: Chain[] = [];

  /** @param frameLimit - gives the length of the longest frame that the driver may send, in bytes */
  constructor(queue: DeviceQueue, rules: NetRules, frameLimit: () => number) {
    this.#queue = queue;
    this.#rules = rules;
    this.#frameLimit = frameLimit;
  }

  /** Takes all that is available; the buffers stay the device's until `release()`. */
  take(): TakenFrame[] {
    const frames: TakenFrame[] = [];
    do {
      for (let chain = this.#queue.take(); chain !== undefined; chain = this.#queue.take()) {
        frames.push(this.#frameOf(chain));
        this.#taken.push(chain);
      }
    } while (this.#queue.armNotifications());
    return frames;
  }

  /** Returns all buffers that were taken, and says how many; the driver sees it when the queue is published. */
  release(): number {
    const taken = this.#taken;
    this.#taken = [];
    for (const chain of taken) this.#queue.complete(chain, new Uint8Array(0));
    return taken.length;
  }

  #frameOf(chain: Chain): TakenFrame {
    const { header: format, anyLayout } = this.#rules;
    const buffer = `the transmit buffer of ${chain.name}`;
    if (chain.writableLength > 0) throw new DriverViolation(`${buffer} has a device-writable part`);
    if (chain.readable.length < format.length + ETHERNET_HEADER) {
      throw new DriverViolation(`${buffer} has ${chain.readable.length} bytes: too few for both headers`);
    }
    if (!anyLayout) checkHeaderFraming(buffer, chain.readableSegments, format.length);
    const header = readHeader(chain.readable, format);
    const frame = chain.readable.subarray(format.length);
    checkSentFrame({ name: chain.name, header, frame }, this.#rules, this.#frameLimit());
    return { frame, offload: offloadIn(header) };
  }
}
