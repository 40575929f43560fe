/**
 * The control queue: one command at a time goes to the device, which acknowledges or refuses it (VIRTIO 1.3, 5.1.6.5).
 *
 * Nobody waits for its interrupts, as commands are rare and most devices answer within the notification: its used ring
 * is polled, so it needs no vector, and works in programs that poll.
 */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { DeviceError, UsageError } from '../../errors.js';
import type { DmaRegion } from '../../memory/dma.js';
import type { Transport } from '../../transport/transport.js';
import { DescriptorChain } from '../../virtqueue/descriptor-chain.js';
import { NOTHING_USED, type Virtqueue } from '../../virtqueue/virtqueue.js';
import type { NegotiatedFeatures } from '../features.js';
import { freeAll } from '../free-all.js';
import { Notifier } from '../notification.js';
import { chooseQueueSize, createRing } from '../ring-format.js';
import { ACK, type CommandBody, type ControlCommand } from './commands.js';
import type { ControlChannel } from './control-channel.js';
import { Exchange } from './exchange.js';

/** Turns of the event loop in which the used ring is looked at, before it is looked at every millisecond only. */
const EAGER_LOOKS = 32;
const LOOK_EVERY_MS = 1;
/** The name of the one buffer that is ever out. */
const TOKEN = 0;
/** Nearly all commands fit in; for the others memory is allocated when they are given. */
const PAGE_SIZE = 4096;

export interface ControlQueueOptions {
  /** Number of the queue at the device. */
  readonly index: number;
  /** How long to wait for an answer, in milliseconds. */
  readonly timeout: number;
}

export class ControlQueue implements ControlChannel {
  /** Why the queue takes no further commands, once it does not: until the device is reset. */
  broken: Error | undefined;
  readonly index: number;
  private readonly transport: Transport;
  private readonly ring: Virtqueue;
  private readonly notifier: Notifier;
  private readonly chain: DescriptorChain;
  private readonly page: DmaRegion;
  private readonly timeout: number;
  /** Memory that the device may still write to, though nobody waits for it any more. */
  private held: Exchange | undefined;
  /** Why no command can be sent, while none can. */
  private stopped: Error | undefined;
  /** Goes up when the device stops: a command that was given before is void then. */
  private life = 0;
  private last: Promise<unknown> = Promise.resolve();

  private constructor(transport: Transport, ring: Virtqueue, page: DmaRegion, timeout: number) {
    this.transport = transport;
    this.ring = ring;
    this.page = page;
    this.index = ring.index;
    this.notifier = new Notifier(ring, transport);
    this.chain = new DescriptorChain(ring.size);
    this.timeout = timeout;
    this.stopped = notStarted(transport);
  }

  /**
   * Allocates the ring. The device must be past FEATURES_OK.
   *
   * @throws DeviceError DEVICE_QUEUE_UNAVAILABLE, MemoryError, VfioError
   */
  static create(
    transport: Transport,
    features: NegotiatedFeatures,
    options: ControlQueueOptions,
  ): ControlQueue {
    const { index, timeout } = options;
    const size = chooseQueueSize(transport, features, index, undefined);
    const page = transport.memory.allocate(PAGE_SIZE);
    try {
      return new ControlQueue(transport, createRing(transport, features, index, size), page, timeout);
    } catch (error) {
      page.free();
      throw error;
    }
  }

  /** Tells the device where the ring lies. Commands may be sent once the device was told to go. */
  enable(): void {
    const { ring, transport } = this;
    ring.suppressInterrupts();
    transport.enableQueue(ring.index, ring.layout);
    this.stopped = undefined;
  }

  /**
   * Sends a command, when those that were given before are done.
   *
   * @returns what the device filled in, followed by the result, as far as it wrote one
   * @throws DeviceError CONTROL_COMMAND_REFUSED, CONTROL_TIMEOUT; QueueError QUEUE_BROKEN, QUEUE_CHAIN_INVALID;
   *   UsageError DEVICE_NOT_STARTED; MemoryError, VfioError
   */
  command(command: ControlCommand, body: CommandBody = {}): Promise<Uint8Array> {
    const { life } = this;
    const turn = this.last.then(() => this.run(command, body, life));
    this.last = turn.catch(() => undefined);
    return turn;
  }

  /** Ends all waiting. The device may still use the memory. */
  halt(reason: Error = notStarted(this.transport)): void {
    this.stopped ??= reason;
    this.life += 1;
  }

  /** Takes the memory back from a device that was reset. */
  reset(): void {
    this.halt();
    this.stopped = notStarted(this.transport);
    this.broken = undefined;
    this.notifier.failure = undefined;
    this.ring.reset(() => undefined);
    this.held?.free();
    this.held = undefined;
  }

  /** Gives all memory back. The device must have been reset. */
  free(): void {
    this.halt();
    this.held?.free();
    this.held = undefined;
    freeAll([this.page, this.ring]);
  }

  private async run(command: ControlCommand, body: CommandBody, life: number): Promise<Uint8Array> {
    this.checkUsable(life);
    const { memory, legacy } = this.transport;
    const exchange = new Exchange(memory, this.page, body, legacy);
    try {
      exchange.write(command, body, this.chain.clear());
      this.ring.addChain(TOKEN, this.chain);
    } catch (error) {
      exchange.free();
      throw error;
    }
    this.held = exchange;
    this.send();
    const used = await this.waitForUse(command, life);
    this.held = undefined;
    const { ack } = exchange;
    const answer = exchange.answer(used);
    exchange.free();
    if (ack !== ACK.OK) throw this.refused(command, ack);
    return answer;
  }

  private send(): void {
    this.ring.publish();
    this.notifier.notifyIfNeeded();
    if (this.notifier.failure !== undefined) this.fail(this.notifier.failure);
  }

  /** @returns how many bytes the device says that it wrote */
  private async waitForUse(command: ControlCommand, life: number): Promise<number> {
    const { ring } = this;
    const deadline = performance.now() + this.timeout;
    for (let look = 0; ; look += 1) {
      // Before the first look too: commands that give rise to others, without end, must not starve the event loop.
      await (look < EAGER_LOOKS ? nextTurn() : sleep(LOOK_EVERY_MS));
      // A device that was reset meanwhile has a new life, in which the ring is another one's.
      if (life !== this.life) throw this.stopped ?? notStarted(this.transport);
      if (ring.take() !== NOTHING_USED) return ring.usedLength;
      if (ring.broken !== undefined) this.fail(ring.broken);
      if (performance.now() >= deadline) this.fail(this.timedOut(command));
    }
  }

  private checkUsable(life: number): void {
    if (this.stopped !== undefined) throw this.stopped;
    if (life !== this.life) throw notStarted(this.transport);
    if (this.broken !== undefined) throw this.broken;
  }

  private fail(error: Error): never {
    this.broken = error;
    throw error;
  }

  private refused({ name, class: number, command }: ControlCommand, ack: number): DeviceError {
    const how = ack === ACK.ERR ? '' : `: it acknowledged with ${ack}, which is neither yes nor no`;
    return new DeviceError(
      'CONTROL_COMMAND_REFUSED',
      `${this.transport.name} refused ${name} (class ${number}, command ${command})${how}`,
    );
  }

  private timedOut({ name, class: number, command }: ControlCommand): DeviceError {
    return new DeviceError(
      'CONTROL_TIMEOUT',
      `${this.transport.name} did not answer ${name} (class ${number}, command ${command}) within ${this.timeout} ms`,
    );
  }
}

function notStarted({ name }: Transport): UsageError {
  return new UsageError('DEVICE_NOT_STARTED', `${name} is not running, so it takes no commands`);
}
