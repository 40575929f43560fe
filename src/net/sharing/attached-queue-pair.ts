/** A queue pair in the worker thread that it was handed to. */
import { EventEmitter } from 'node:events';
import type { MessagePort } from 'node:worker_threads';
import { DeviceError, UsageError } from '../../errors.js';
import type { PacketBuffer } from '../../memory/packet-buffer.js';
import type { NativeAccess } from '../../transport/native-access.js';
import { NegotiatedFeatures } from '../features.js';
import { FrameDispatch, type FramesOptions } from '../frame-dispatch.js';
import type { FrameStream } from '../frame-stream.js';
import { guard } from '../guard.js';
import { NetQueuePair, type PairGate } from '../net-queue-pair.js';
import { PairDatapath } from '../pair-datapath.js';
import { QueuePair, QUEUES_PER_PAIR } from '../queue-pair.js';
import type { LostFrames } from '../recovery-report.js';
import type { QueuePairStatistics } from '../statistics.js';
import { BorrowedQueues } from './borrowed-queues.js';
import { isUsed, keepsFrames, REQUEST, requestOf, type ControlBlock } from './control-block.js';
import { writeCounters } from './counters.js';
import type { DeviceMessage, PairMessage, SharedQueuePair, SharedSetup } from './shared-queue-pair.js';

/** Frames that one `poll()` takes at most. */
const POLL_BURST = 32;
/** How long to wait between two looks at frames that are being sent, in milliseconds. */
const LOOK_EVERY_MS = 1;

/**
 * - `stopped`: the device is at rest, or has failed
 * - `running`: frames go in and out
 * - `recovering`: the device is being reset, and will run again
 * - `closed`: the pair was given back, or taken back
 */
export type AttachedState = 'stopped' | 'running' | 'recovering' | 'closed';

export interface AttachedQueuePairEvents {
  /** A frame was received. The packet is lent until the listener returns. */
  frame: [packet: PacketBuffer];
  state: [state: AttachedState];
  /** The device broke the protocol on this pair; the thread that opened it is told as well. */
  error: [error: Error];
  /** The pair was given back, or taken back. */
  close: [];
}

/**
 * A queue pair in the worker thread that it was handed to: the calls of a {@link NetQueuePair}, and waiting for frames.
 * It starts, stops and recovers with the device, and has packet buffers of its own.
 *
 * In its burst calls it looks for what the thread of the device asks of it, so a loop that polls need not give the event
 * loop a turn.
 */
export class AttachedQueuePair extends EventEmitter<AttachedQueuePairEvents> {
  /** Number of the pair, from 0 on. */
  readonly number: number;
  /** Where the device is: its PCI address, or the name of its transport. */
  readonly address: string;

  private readonly block: ControlBlock;
  private readonly port: MessagePort;
  private readonly setup: SharedSetup;
  private readonly access: BorrowedQueues;
  private readonly queues: QueuePair;
  private readonly datapath: PairDatapath;
  private readonly streams: FrameDispatch;
  private readonly handle: NetQueuePair;
  private readonly gate: PairGate & { state: AttachedState };
  private readonly native: NativeAccess | undefined;
  private failure: Error | undefined;
  /** The request that was seen last. */
  private seen = -1;
  /** Whether the rings are this thread's, from a request to run until it was asked to rest. */
  private holdsRings = false;
  /** Whether frames were taken out of the rings that the device is to be given again. */
  private hasAside = false;
  private polling = false;
  private pollTurn: NodeJS.Immediate | undefined;

  /** @internal */
  constructor(shared: SharedQueuePair, block: ControlBlock, native: NativeAccess | undefined) {
    super();
    const { setup, port, number } = shared;
    const { interrupts, budget, featureBits, mtu, options } = setup;
    this.number = number;
    this.address = setup.device;
    this.block = block;
    this.port = port;
    this.setup = setup;
    this.native = native;
    this.access = new BorrowedQueues(shared, block, native);
    const features = new NegotiatedFeatures(featureBits, featureBits, [], []);
    this.queues = QueuePair.create(this.access, number, { features, mtu, ...options });
    this.streams = new FrameDispatch({
      emit: (packet) => this.emit('frame', packet),
      hasListeners: () => this.listenerCount('frame') > 0,
      onWanted: () => this.onFramesWanted(),
    });
    this.datapath = new PairDatapath(this.queues, {
      frames: this.streams,
      interrupts,
      budget,
      pollSoon: () => this.pollSoon(),
      onBroken: (error) => this.fail(error),
      onTurnDone: () => this.count(),
    });
    this.gate = {
      state: 'stopped',
      idle: () => this.idle(),
      checkOpen: () => this.checkOpen(),
      throwIfBroken: () => this.throwIfBroken(),
    };
    this.handle = new NetQueuePair(this.datapath, this.gate);
    (this as EventEmitter).on('newListener', (event) => {
      if (event === 'frame') this.onFramesWanted();
    });
    this.listen();
    this.look();
  }

  get state(): AttachedState {
    return this.gate.state;
  }

  /** As `receive()` of a {@link NetQueuePair}. */
  receive(batch: PacketBuffer[], max?: number): number {
    this.look();
    const count = this.handle.receive(batch, max);
    this.count();
    return count;
  }

  /** As `transmit()` of a {@link NetQueuePair}. Only packets of this pair can be sent. */
  transmit(batch: readonly PacketBuffer[], count: number = batch.length): number {
    this.look();
    const taken = this.handle.transmit(batch, count);
    this.count();
    return taken;
  }

  /** As `allocate()` of a {@link NetQueuePair}. */
  allocate(): PacketBuffer {
    this.look();
    return this.handle.allocate();
  }

  /** As `allocateBatch()` of a {@link NetQueuePair}. */
  allocateBatch(batch: PacketBuffer[], count: number): number {
    this.look();
    return this.handle.allocateBatch(batch, count);
  }

  /** As `releaseBatch()` of a {@link NetQueuePair}. */
  releaseBatch(batch: readonly PacketBuffer[], count: number = batch.length): void {
    this.handle.releaseBatch(batch, count);
  }

  /** As `send()` of a NetDevice. */
  async send(frame: Uint8Array | PacketBuffer, options: { signal?: AbortSignal } = {}): Promise<void> {
    this.checkSendable();
    await this.handle.send(frame, options.signal);
    this.count();
    this.failIfBroken();
  }

  /** As `flush()` of a NetDevice. */
  async flush(options: { signal?: AbortSignal } = {}): Promise<void> {
    this.checkSendable();
    await this.handle.flush(options.signal);
    this.throwIfBroken();
  }

  /** As `frames()` of a NetDevice. */
  frames(options: FramesOptions = {}): FrameStream {
    this.look();
    this.checkOpen();
    return this.streams.openChecked(options);
  }

  [Symbol.asyncIterator](): FrameStream {
    return this.frames();
  }

  /** As `poll()` of a NetDevice, for this pair. */
  poll(): number {
    this.look();
    if (this.gate.state !== 'running') return this.idle();
    if (this.polling || this.streams.isDelivering) return 0;
    this.polling = true;
    try {
      const count = this.datapath.poll(POLL_BURST);
      this.count();
      this.throwIfBroken();
      return count;
    } finally {
      this.polling = false;
    }
  }

  /** The counters of this pair in this thread. Those of the device contain them. */
  statistics(): QueuePairStatistics {
    return this.handle.statistics();
  }

  /**
   * Gives the pair back, after its frames have left, or `drainTimeout` has passed. What the device receives for the pair
   * is lost until it is stopped and started again. Packets of a card that the program has kept are empty from then on.
   * Calling it again does nothing.
   */
  close(): void {
    this.look();
    this.end();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Lets the thread end while it waits for frames. */
  unref(): this {
    this.port.unref();
    this.native?.setKeepAlive(false);
    return this;
  }

  /** Undoes `unref()`: an attached pair keeps its thread running. */
  ref(): this {
    this.port.ref();
    this.native?.setKeepAlive(true);
    return this;
  }

  private listen(): void {
    const { receive, transmit } = this.queues;
    this.port.on('message', (message: DeviceMessage) => {
      this.look();
      if (message.kind !== 'interrupt') return;
      this.block.takeInterrupt(message.queue % QUEUES_PER_PAIR);
      this.onInterrupt(message.queue);
    });
    this.port.on('close', () => this.end());
    for (const [queue, fd] of this.setup.eventFds?.entries() ?? []) {
      const { index } = queue === 0 ? receive.ring : transmit.ring;
      this.native?.listen(fd, () => {
        this.look();
        this.onInterrupt(index);
      });
    }
  }

  private onInterrupt(queue: number): void {
    if (!this.holdsRings) return;
    try {
      if (queue === this.queues.receive.ring.index) this.datapath.onReceiveInterrupt();
      else this.datapath.onTransmitInterrupt();
    } catch (error) {
      this.fail(error as Error);
    }
  }

  /** Does what the thread of the device asks for, if that is new. */
  private look(): void {
    if (this.block.request !== this.seen) this.obey(this.block.request);
  }

  private obey(request: number): void {
    this.seen = request;
    this.datapath.use(isUsed(request));
    let lost = this.nothingLost;
    switch (requestOf(request)) {
      case REQUEST.RUN:
        if (!this.holdsRings) this.begin(request);
        break;
      case REQUEST.PAUSE:
        if (keepsFrames(request)) this.setAside();
        lost = this.rest('recovering');
        if (!keepsFrames(request) && this.hasAside) lost = this.dropAside();
        break;
      case REQUEST.STOP:
        lost = this.rest('stopped');
        if (this.hasAside) lost = this.dropAside();
        break;
      case REQUEST.END:
        this.end();
        return;
    }
    this.tell({ kind: 'done', request, lost });
  }

  /** The device runs, with rings in their initial state and nothing in them. */
  private begin(request: number): void {
    const { queues, datapath } = this;
    this.failure = undefined;
    this.access.begin(request);
    if (!this.hasAside && queues.reset().transmit > 0) datapath.sender.failFlushes(this.wasReset());
    this.hasAside = false;
    for (const { ring } of [queues.receive, queues.transmit]) ring.suppressInterrupts();
    queues.receive.fill();
    queues.transmit.putBack();
    this.holdsRings = true;
    this.setState('running');
    // Who was told of that may have given the pair back.
    if (!this.isRunning()) return;
    queues.receive.notifier.notifyIfNeeded();
    if (queues.transmit.unfinished > 0) queues.transmit.notifier.notifyIfNeeded();
    datapath.start();
    if (!this.setup.interrupts && this.isWaitedFor) this.pollSoon();
    datapath.checkQueues();
  }

  /** Lets go of the rings; says what was in them. */
  private rest(state: 'stopped' | 'recovering'): LostFrames {
    const { sender } = this.datapath;
    if (state === 'stopped') sender.fail(this.failure ?? this.notRunning());
    if (state === 'stopped' && this.failure !== undefined) this.streams.fail(this.failure);
    const lost = this.letGo(state === 'stopped' && this.failure === undefined);
    this.setState(state);
    return lost;
  }

  /** Takes all out of the rings, to go on with it when the device does. */
  private setAside(): void {
    if (!this.holdsRings) return;
    this.holdsRings = false;
    this.hasAside = true;
    this.halt();
    this.queues.setAside();
    this.datapath.pause('receive');
    this.datapath.pause('transmit');
    this.count();
  }

  /** The device does not go on; says what was kept for nothing. */
  private dropAside(): LostFrames {
    this.hasAside = false;
    const lost = this.queues.reset();
    if (lost.transmit > 0) this.datapath.sender.failFlushes(this.wasReset());
    return lost;
  }

  private letGo(drain: boolean): LostFrames {
    if (!this.holdsRings) return this.nothingLost;
    this.holdsRings = false;
    const { queues, datapath } = this;
    this.halt();
    if (drain) this.drain();
    const lost = {
      queuePair: this.number,
      receive: queues.receive.dropFinished(),
      transmit: queues.transmit.ring.outstanding,
    };
    datapath.pause('receive');
    datapath.pause('transmit');
    this.count();
    return lost;
  }

  /** Waits with the whole thread: whoever polls in a loop gives the event loop no turn to wait in. */
  private drain(): void {
    const { transmit } = this.queues;
    // The thread of the device waits for this one a little longer.
    const deadline = performance.now() + this.setup.drainTimeout;
    transmit.reclaim();
    while (
      transmit.ring.outstanding > 0 &&
      this.datapath.broken === undefined &&
      performance.now() < deadline
    ) {
      this.block.sleep(LOOK_EVERY_MS);
      transmit.reclaim();
    }
  }

  private halt(): void {
    this.datapath.halt();
    clearImmediate(this.pollTurn);
    this.pollTurn = undefined;
  }

  private end(): void {
    if (this.gate.state === 'closed') return;
    // Not before: calls that drain or reject may look at the state.
    const closed = this.closed();
    this.datapath.sender.fail(closed);
    this.letGo(this.failure === undefined);
    this.queues.reset();
    this.count();
    this.gate.state = 'closed';
    this.streams.end();
    this.access.close();
    this.port.close();
    guard(() => this.emit('state', 'closed'));
    guard(() => this.emit('close'));
  }

  /** The device broke the protocol: the thread that opened it decides what becomes of that. */
  private fail(error: Error): void {
    if (!this.holdsRings || this.failure !== undefined) return;
    this.failure = error;
    this.halt();
    this.datapath.pause('receive');
    this.datapath.pause('transmit');
    this.tell({ kind: 'failed', request: this.seen, message: error.message });
    this.setState('stopped');
    if (this.listenerCount('error') > 0) guard(() => this.emit('error', error));
  }

  private failIfBroken(): void {
    const { broken } = this.datapath;
    if (broken !== undefined) this.fail(broken);
  }

  private throwIfBroken(): void {
    this.failIfBroken();
    if (this.failure !== undefined) throw this.failure;
  }

  private checkSendable(): void {
    this.look();
    if (this.gate.state !== 'running') this.idle();
  }

  private checkOpen(): void {
    if (this.gate.state === 'closed') throw this.closed();
  }

  private idle(): 0 {
    if (this.gate.state === 'recovering') return 0;
    throw this.notRunning();
  }

  private notRunning(): Error {
    if (this.gate.state === 'closed') return this.closed();
    return this.failure ?? new UsageError('DEVICE_NOT_STARTED', `${this.what} is stopped`);
  }

  private closed(): UsageError {
    return new UsageError('DEVICE_CLOSED', `${this.what} was given back`);
  }

  private wasReset(): DeviceError {
    return new DeviceError(
      'DEVICE_WAS_RESET',
      `${this.address} was reset before it had finished the frames that it was given`,
    );
  }

  private get what(): string {
    return `Queue pair ${this.number} of ${this.address}`;
  }

  private get nothingLost(): LostFrames {
    return { queuePair: this.number, receive: 0, transmit: 0 };
  }

  private isRunning(): boolean {
    return this.gate.state === 'running';
  }

  private setState(state: AttachedState): void {
    if (state === this.gate.state) return;
    this.gate.state = state;
    guard(() => this.emit('state', state));
  }

  private tell(message: PairMessage): void {
    this.port.postMessage(message);
  }

  private count(): void {
    writeCounters(this.datapath, this.block.counters);
  }

  private get isWaitedFor(): boolean {
    return this.streams.isWaiting || this.datapath.sender.isWaiting;
  }

  private onFramesWanted(): void {
    this.datapath.lookSoon();
    if (!this.setup.interrupts && this.streams.isWaiting) this.pollSoon();
  }

  /** Without interrupts nobody wakes those who wait: poll once per turn of the event loop while there are any. */
  private pollSoon(): void {
    if (this.pollTurn !== undefined || !this.isRunning()) return;
    this.pollTurn = setImmediate(() => {
      this.pollTurn = undefined;
      this.pollInTurn();
      if (this.isWaitedFor) this.pollSoon();
    });
  }

  private pollInTurn(): void {
    try {
      if (this.isRunning()) this.poll();
    } catch (error) {
      this.fail(error as Error);
    }
  }
}
