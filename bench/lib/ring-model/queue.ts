/** The device's side of one queue, in the thread of the driver: what the ring alone asks of a device, and no more. */
import type { ModelMemory } from './memory.js';

/** Where num_buffers lies in the virtio_net_hdr (VIRTIO 1.3, 5.1.6). */
const NUM_BUFFERS = 10;

export interface ModelQueue {
  /**
   * Marks buffers as used that the driver has made available, in their order.
   *
   * @param most - how many at most
   * @param length - bytes that are said to be written into each; 0 for buffers that the device only reads
   * @returns how many there were
   */
  finish(most: number, length: number): number;
}

/** Says in the header of a buffer that the frame lies in this one alone, as a device with mergeable buffers does. */
export class HeaderWriter {
  private readonly memory: ModelMemory;
  private bytes = new Uint8Array(0);
  private base = 0;

  constructor(memory: ModelMemory) {
    this.memory = memory;
  }

  /** @param address - of the buffer; all buffers of a queue lie in one region */
  write(address: number): void {
    const offset = address - this.base;
    if (offset < 0 || offset >= this.bytes.length) this.find(address);
    this.bytes[address - this.base + NUM_BUFFERS] = 1;
  }

  private find(address: number): void {
    const region = this.memory.regionAt(address);
    this.base = region.base;
    this.bytes = new Uint8Array(region.buffer);
  }
}
