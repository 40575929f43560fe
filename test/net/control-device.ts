/** A device that has nothing but a configuration and a control queue, for tests, written from VIRTIO 1.3, 5.1.6.5. */
import type { QueueLayout, Transport } from '../../src/index.js';
import type { DmaMemory } from '../../src/memory/dma.js';
import { ConfigWatch } from '../../src/net/config-watch.js';
import { ControlSession } from '../../src/net/control/control-session.js';
import { NetControl } from '../../src/net/control/net-control.js';
import type { FeatureName } from '../../src/net/feature-table.js';
import { PlainMemory } from '../support/plain-memory.js';
import type { Taken } from '../virtqueue/device.js';
import { SplitDevice } from '../virtqueue/split-device.js';
import { ConfigDevice, negotiatedFeatures, type ConfigFields } from './config-device.js';

/** A command as the device reads it. */
export interface ReceivedCommand {
  readonly class: number;
  readonly command: number;
  readonly data: number[];
}

/** What the device writes: the acknowledgement with what lies in front of it and behind it; or nothing, ever. */
export type DeviceAnswer =
  | 'silence'
  | { readonly ack: number; readonly filled?: readonly number[]; readonly result?: readonly number[] };

type AnyMemory = DmaMemory & Pick<PlainMemory, 'bytesAt'>;

export interface ControlDeviceOptions {
  readonly features: readonly FeatureName[];
  readonly config?: ConfigFields;
  readonly overrides?: Partial<Transport>;
  readonly memory?: AnyMemory;
  /** How many queue pairs the driver has open. */
  readonly pairs?: number;
  readonly timeout?: number;
}

export const OWN_MAC = Uint8Array.of(0x02, 1, 2, 3, 4, 5);
export const OK = { ack: 0 } as const;

export class ControlDevice {
  readonly commands: ReceivedCommand[] = [];
  /** Lengths of the descriptors of each command: what the device reads, and what it writes. */
  readonly framing: { readable: number[]; writable: number[] }[] = [];
  readonly config: ConfigDevice;
  readonly memory: AnyMemory;
  readonly watch: ConfigWatch;
  readonly session: ControlSession;
  readonly control: NetControl;
  /** Numbers of the queues that were enabled. */
  readonly enabled: number[] = [];
  /** What the device says to a command. */
  answer: (command: ReceivedCommand) => DeviceAnswer = () => OK;
  /** How many requests to announce the driver has passed on. */
  announcements = 0;
  /** What the driver was told of how many queue pairs to use. */
  readonly pairsUsed: number[] = [];
  ring: SplitDevice | undefined;
  /** By what the command that came last is returned. */
  last = -1;

  constructor(options: ControlDeviceOptions) {
    const { features: names, pairs = 1, timeout = 20 } = options;
    const memory = options.memory ?? new PlainMemory();
    this.memory = memory;
    const config = new ConfigDevice(options.config, {
      memory,
      queueCount: 0xffff,
      maxQueueSize: () => 64,
      enableQueue: (queue, layout) => this.enableQueue(queue, layout),
      notify: () => this.work(),
      ...options.overrides,
    });
    this.config = config;
    const features = negotiatedFeatures(...names);
    this.watch = new ConfigWatch(config.transport, features, {
      link: () => undefined,
      mtu: () => undefined,
      speed: () => undefined,
      announce: () => (this.announcements += 1),
    });
    const onQueuePairs = (count: number): void => void this.pairsUsed.push(count);
    const parts = { transport: config.transport, features, config: this.watch, pairs, timeout, onQueuePairs };
    this.session = ControlSession.create(parts);
    this.control = new NetControl(this.session, this.watch.current.mac ?? OWN_MAC);
  }

  /** As the driver starts a device: says which settings were lost. */
  async start(): Promise<string[]> {
    this.session.enable();
    const lost = await this.session.restore();
    return lost.map(({ setting }) => setting);
  }

  /** As the driver stops it. */
  stop(): void {
    this.session.halt();
    this.session.reset();
  }

  /** The commands since the last call, as numbers. */
  take(): number[][] {
    return this.commands.splice(0).map((one) => [one.class, one.command, ...one.data]);
  }

  /** Carries out what is in the ring. */
  work(): void {
    const { ring } = this;
    for (let taken = ring?.take(); ring !== undefined && taken !== undefined; taken = ring.take()) {
      this.carryOut(ring, taken);
    }
  }

  private enableQueue(queue: number, layout: QueueLayout): void {
    this.enabled.push(queue);
    this.ring = new SplitDevice(this.memory, layout, false);
  }

  private carryOut(ring: SplitDevice, { id, parts }: Taken): void {
    this.last = id;
    const readable = parts.filter((part) => !part.writable);
    const writable = parts.filter((part) => part.writable);
    this.framing.push({
      readable: readable.map(({ length }) => length),
      writable: writable.map(({ length }) => length),
    });
    const bytes = readable.flatMap(({ address, length }) => [...this.bytesAt(address, length)]);
    const command = { class: bytes[0], command: bytes[1], data: bytes.slice(2) };
    this.commands.push(command);
    const answer = this.answer(command);
    if (answer === 'silence') return;
    const written = [...(answer.filled ?? []), answer.ack, ...(answer.result ?? [])];
    const room = writable.reduce((sum, { length }) => sum + length, 0);
    ring.return(id, Math.min(room, this.write(writable, written)));
  }

  private write(parts: readonly { address: number; length: number }[], bytes: readonly number[]): number {
    let from = 0;
    for (const { address, length } of parts) {
      this.bytesAt(address, length).set(bytes.slice(from, from + length));
      from += length;
    }
    return bytes.length;
  }

  private bytesAt(address: number, length: number): Uint8Array {
    return this.memory.bytesAt(address % 2 ** 32, Math.floor(address / 2 ** 32), length);
  }
}
