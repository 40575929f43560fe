/** A receive queue's work: gives frames to the driver (VIRTIO 1.3, 5.1.6.3, 5.1.6.4). */
import type { Chain } from '../chain.js';
import type { DeviceQueue } from '../device-queue.js';
import { DriverViolation } from '../violation.js';
import { checkHeaderFraming } from './framing.js';
import { packetOf, type NetHeader } from './header.js';
import type { NetRules } from './rules.js';

export class Receiver {
  readonly #queue: DeviceQueue;
  readonly #rules: NetRules;
  /** Buffers that the device owns, the oldest first. */
  readonly #taken: Chain[] = [];

  constructor(queue: DeviceQueue, rules: NetRules) {
    this.#queue = queue;
    this.#rules = rules;
  }

  /** Takes all buffers that are available, and asks for a notification only where there are none. */
  take(): void {
    do {
      for (let chain = this.#queue.take(); chain !== undefined; chain = this.#queue.take()) {
        this.#check(chain);
        this.#taken.push(chain);
      }
    } while (this.#taken.length === 0 && this.#queue.armNotifications());
    if (this.#taken.length > 0) this.#queue.disarmNotifications();
  }

  /** Gives the driver a frame; false if it has no room for it. */
  deliver(frame: Uint8Array, header: NetHeader): boolean {
    const { header: format } = this.#rules;
    return this.#give(format.length + frame.length, (numBuffers) =>
      packetOf(frame, { ...header, numBuffers }, format),
    );
  }

  /** Gives the driver these bytes as they are, header and all; false if it has no room for them. */
  deliverRaw(packet: Uint8Array): boolean {
    return this.#give(packet.length, () => packet);
  }

  #give(length: number, packetIn: (numBuffers: number) => Uint8Array): boolean {
    this.take();
    const count = this.#buffersFor(length);
    if (count === undefined) return false;
    this.#fill(this.#taken.splice(0, count), packetIn(count));
    // Whoever took the last buffer asks for the next.
    this.take();
    return true;
  }

  #buffersFor(length: number): number | undefined {
    const usable = this.#rules.mergeable ? this.#taken.length : Math.min(1, this.#taken.length);
    let room = 0;
    for (let count = 1; count <= usable; count++) {
      room += this.#taken[count - 1].writableLength;
      if (room >= length) return count;
    }
    return undefined;
  }

  /** All buffers but the last are filled to the full. */
  #fill(chains: readonly Chain[], packet: Uint8Array): void {
    let at = 0;
    for (const chain of chains) {
      this.#queue.complete(chain, packet.subarray(at, at + chain.writableLength));
      at += chain.writableLength;
    }
  }

  #check(chain: Chain): void {
    const buffer = `the receive buffer of ${chain.name}`;
    if (chain.readable.length > 0) throw new DriverViolation(`${buffer} has a device-readable part`);
    if (chain.writableLength < this.#rules.header.length) {
      throw new DriverViolation(`${buffer} has ${chain.writableLength} bytes: too few for the header`);
    }
    if (!this.#rules.anyLayout) checkHeaderFraming(buffer, chain.writableSegments, this.#rules.header.length);
  }
}
