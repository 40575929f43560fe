/**
 * A network device in as few lines as carry plain frames, in the same thread: it works when it is told to, at the speed
 * of a fast device, and allocates nothing, so that what is allocated is the driver's.
 */
import type { QueueLayout, Transport } from '../../src/transport/transport.js';
import { PlainMemory } from './plain-memory.js';

const FEATURES = { version1: 1n << 32n, ringPacked: 1n << 34n, mergeable: 1n << 15n };
const HEADER = 12;
const NUM_BUFFERS_AT = 10;
/** Descriptor flags: buffers that the device writes; of packed rings (VIRTIO 1.3, 2.8.1). */
const WRITE = 2;
const [AVAILABLE, USED] = [1 << 7, 1 << 15];

export interface InstantOptions {
  readonly format: 'split' | 'packed';
  readonly mergeable: boolean;
  readonly queueSize: number;
}

/** A queue as the device has it. */
interface DeviceRing {
  /** Uses up to `max` buffers, each of them written with so many bytes; says how many there were. */
  use(max: number, length: number): number;
}

export class InstantDevice {
  readonly transport: Transport;
  private readonly memory = new PlainMemory();
  private readonly rings: DeviceRing[] = [];
  private readonly options: InstantOptions;

  constructor(options: InstantOptions) {
    this.options = options;
    this.transport = this.createTransport();
  }

  /** Frames of so many bytes arrive, as many as the driver has posted buffers for, up to `max`; says how many. */
  receive(max: number, length: number): number {
    return this.rings[0].use(max, HEADER + length);
  }

  /** Sends up to `max` of the frames that the driver has handed over; says how many. */
  transmit(max: number): number {
    return this.rings[1].use(max, 0);
  }

  private enable(queue: number, layout: QueueLayout): void {
    const bytesAt = (at: number, length: number): Uint8Array => this.memory.bytesAt(at, 0, length);
    const ring = this.options.format === 'packed' ? PackedSide : SplitSide;
    this.rings[queue] = new ring(layout, bytesAt, new Headers(this.memory));
  }

  private createTransport(): Transport {
    const { format, mergeable, queueSize } = this.options;
    let status = 0;
    const offered =
      FEATURES.version1 |
      (format === 'packed' ? FEATURES.ringPacked : 0n) |
      (mergeable ? FEATURES.mergeable : 0n);
    const nothing = (): void => undefined;
    return {
      ...{ kind: 'instant', name: 'instant', memory: this.memory, legacy: false, queueCount: 2 },
      readStatus: () => status,
      writeStatus: (bits) => (status = bits),
      readDeviceFeatures: () => offered,
      ...{ writeDriverFeatures: nothing, notify: nothing, setKeepAlive: nothing, onRemoval: nothing },
      maxQueueSize: () => queueSize,
      enableQueue: (queue, layout) => this.enable(queue, layout),
      resetQueue: () => Promise.reject(new Error('there are no resets of queues here')),
      ...{ configLength: 0, readConfig: () => 0, writeConfig: nothing, readConfigGeneration: () => 0 },
      ...{ enableInterrupts: nothing, disableInterrupts: nothing },
      close: () => Promise.resolve(),
    };
  }
}

type BytesAt = (address: number, length: number) => Uint8Array;

/** Writes what a device puts in front of a plain frame: zeroes, and that it is in one buffer. */
class Headers {
  private readonly regions: readonly { base: number; bytes: Uint8Array }[];

  constructor(memory: PlainMemory) {
    this.regions = memory.regions.map(({ base, buffer }) => ({ base, bytes: new Uint8Array(buffer) }));
  }

  write(address: number): void {
    for (const { base, bytes } of this.regions) {
      const at = address - base;
      if (at < 0 || at >= bytes.length) continue;
      for (let j = 0; j < HEADER; j += 1) bytes[at + j] = 0;
      bytes[at + NUM_BUFFERS_AT] = 1;
      return;
    }
    throw new Error(`stray write to ${address.toString(16)}`);
  }
}

const words = (bytes: Uint8Array): Uint16Array =>
  new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
const doubleWords = (bytes: Uint8Array): Uint32Array =>
  new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);

/** VIRTIO 1.3, 2.7. */
class SplitSide implements DeviceRing {
  private readonly descriptors: Uint32Array;
  private readonly available: Uint16Array;
  private readonly usedWords: Uint16Array;
  private readonly usedEntries: Uint32Array;
  private readonly headers: Headers;
  private readonly mask: number;
  private seen = 0;

  constructor({ size, descriptorArea, driverArea, deviceArea }: QueueLayout, at: BytesAt, headers: Headers) {
    this.descriptors = doubleWords(at(descriptorArea.lo, 16 * size));
    this.available = words(at(driverArea.lo, 4 + 2 * size));
    const used = at(deviceArea.lo, 4 + 8 * size);
    this.usedWords = words(used);
    this.usedEntries = doubleWords(used);
    this.headers = headers;
    this.mask = size - 1;
  }

  use(max: number, length: number): number {
    const count = Math.min((this.available[1] - this.seen) & 0xffff, max);
    for (let i = 0; i < count; i += 1) {
      const at = (this.seen + i) & this.mask;
      const id = this.available[2 + at];
      if (length > 0) this.headers.write(this.descriptors[4 * id]);
      this.usedEntries[1 + 2 * at] = id;
      this.usedEntries[2 + 2 * at] = length;
    }
    this.seen = (this.seen + count) & 0xffff;
    this.usedWords[1] = this.seen;
    return count;
  }
}

/** VIRTIO 1.3, 2.8. Each buffer is one descriptor here, so its identifier can stay where it is. */
class PackedSide implements DeviceRing {
  private readonly fields: Uint32Array;
  private readonly words: Uint16Array;
  private readonly headers: Headers;
  private readonly size: number;
  private at = 0;
  private wrapped = false;

  constructor({ size, descriptorArea }: QueueLayout, at: BytesAt, headers: Headers) {
    const descriptors = at(descriptorArea.lo, 16 * size);
    this.fields = doubleWords(descriptors);
    this.words = words(descriptors);
    this.headers = headers;
    this.size = size;
  }

  use(max: number, length: number): number {
    let count = 0;
    for (; count < max && this.isAvailable(); count += 1) {
      if (length > 0) this.headers.write(this.fields[4 * this.at]);
      this.fields[4 * this.at + 2] = length;
      this.words[8 * this.at + 7] = (this.wrapped ? 0 : AVAILABLE | USED) | (length > 0 ? WRITE : 0);
      this.at += 1;
      if (this.at < this.size) continue;
      this.at = 0;
      this.wrapped = !this.wrapped;
    }
    return count;
  }

  private isAvailable(): boolean {
    const flags = this.words[8 * this.at + 7] & (AVAILABLE | USED);
    return flags === (this.wrapped ? USED : AVAILABLE);
  }
}
