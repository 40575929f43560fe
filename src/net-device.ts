/**
 * NetDevice: a virtio network card, driven by this program.
 *
 * A newcomer starts reading here. The layers below: `net/queue-pair` (rings and buffers), `net/receive-queue` and
 * `net/transmit-queue` (the way of a packet), `virtqueue` (the rings), `transport` (how the device is reached).
 */
import { EventEmitter } from 'node:events';
import { DeviceError, UsageError } from './errors.js';
import type { Logger } from './log.js';
import { defaultLogger } from './logging/default-logger.js';
import type { PacketBuffer } from './memory/packet-buffer.js';
import { chooseAddressing } from './net/addressing.js';
import { AllPairs } from './net/all-pairs.js';
import { describe } from './net/arguments.js';
import { ConfigWatch, type LinkSpeed } from './net/config-watch.js';
import { ControlSession } from './net/control/control-session.js';
import { NetControl } from './net/control/net-control.js';
import { requireDirection } from './net/control/requirements.js';
import { Datapath } from './net/datapath.js';
import { chooseFeatures, type NegotiatedFeatures } from './net/features.js';
import { FrameDispatch, type FramesOptions } from './net/frame-dispatch.js';
import type { FrameStream } from './net/frame-stream.js';
import { freeAll } from './net/free-all.js';
import { guard } from './net/guard.js';
import { giveUp, negotiate, resetDevice } from './net/initialisation.js';
import { Lifecycle, type NetDeviceState } from './net/lifecycle.js';
import { NetQueuePair } from './net/net-queue-pair.js';
import { checkOptionsForTarget } from './net/option-conflicts.js';
import { checkOptions, type NetDeviceOptions, type Settings } from './net/options.js';
import type { QueuePair } from './net/queue-pair.js';
import { createQueuePairs } from './net/queue-pairs.js';
import { snapshot } from './net/snapshot.js';
import { Lease, LentGate, lentAway } from './net/sharing/lease.js';
import { Leases } from './net/sharing/leases.js';
import type { SharedQueuePair } from './net/sharing/shared-queue-pair.js';
import type { Direction, RecoveryReport } from './net/recovery-report.js';
import type { NetStatistics } from './net/statistics.js';
import { openTarget } from './open-target.js';
import type { Transport } from './transport/transport.js';

export interface NetDeviceEvents {
  /** A frame was received. The packet is lent until the listener returns; see {@link PacketBuffer}. */
  frame: [packet: PacketBuffer];
  /** The link went up (true) or down (false). */
  link: [up: boolean];
  /**
   * The device tells another MTU, in bytes. Buffers and checks keep to that of `device.mtu`, with which it was opened:
   * a device that keeps to the specification does not change it (VIRTIO 1.3, 5.1.4.1).
   */
  mtu: [mtu: number];
  /** The speed or the duplex mode of the link changed. */
  speed: [speed: LinkSpeed];
  /**
   * The device asks to be announced on its network, as it has moved: send gratuitous ARP or the like. It is told that
   * this was done when the listeners have returned.
   */
  announce: [];
  /** The device entered another state. */
  state: [state: NetDeviceState];
  /** A device that failed, or was reset, runs again. */
  recovered: [report: RecoveryReport];
  /** The device has gone, or the machine asks for it back. It is being closed; `close` comes when that is done. */
  removed: [];
  /** The device failed; without a listener, the next call on the device throws the same error. */
  error: [error: Error];
  /** Everything was given back. */
  close: [];
}

/**
 * A virtio network card.
 *
 * `open()` finds the device, takes it over, negotiates, and allocates all memory; `start()` lets frames flow;
 * `stop()` brings the device to rest with nothing lost but what was under way; `close()` gives all back.
 *
 * @example
 * ```ts
 * await using device = await NetDevice.open('0000:00:10.0');
 * await device.start();
 * await device.send(frame);
 * for await (const packet of device) console.log(packet.length);
 * ```
 */
export class NetDevice extends EventEmitter<NetDeviceEvents> {
  /** What both sides agreed on, by name. */
  readonly features: NegotiatedFeatures;
  /** Largest payload of a frame in bytes, without the Ethernet header. */
  readonly mtu: number;
  /** How many queue pairs the device has; `queuePairs` of the options may ask for so many. */
  readonly maxQueuePairs: number;
  /** What can be set: MAC address and filters, VLANs, receive modes, receive side scaling, offloads, coalescing. */
  readonly control: NetControl;

  private readonly transport: Transport;
  private readonly session: ControlSession;
  private readonly pairs: readonly QueuePair[];
  private readonly handles: readonly NetQueuePair[];
  private readonly all: AllPairs;
  private readonly streams: FrameDispatch;
  private readonly datapath: Datapath;
  private readonly leases = new Leases();
  private readonly settings: Settings;
  private readonly log: Logger;
  private readonly config: ConfigWatch;
  private readonly lifecycle: Lifecycle;

  private constructor(transport: Transport, settings: Settings, log: Logger, features: NegotiatedFeatures) {
    super();
    this.transport = transport;
    this.settings = settings;
    this.log = log;
    this.features = features;
    const onLink = (up: boolean): void => {
      log.info({ link: up }, 'link changed');
      guard(() => this.emit('link', up));
    };
    this.config = new ConfigWatch(transport, features, {
      link: onLink,
      mtu: (mtu) => {
        log.info({ mtu }, 'MTU changed');
        guard(() => this.emit('mtu', mtu));
      },
      speed: (speed) => {
        log.info(speed, 'link speed changed');
        guard(() => this.emit('speed', speed));
      },
      announce: () => this.announce(log),
    });
    const { mac, mtu, maxQueuePairs } = this.config.current;
    this.mtu = mtu;
    this.maxQueuePairs = maxQueuePairs;
    const { queuePairs, queueSize, poolSize, bufferSize, controlTimeout: timeout } = settings;
    this.session = ControlSession.create({
      transport,
      features,
      config: this.config,
      pairs: queuePairs,
      onQueuePairs: (count) => this.datapath.use(count),
      timeout,
    });
    this.control = new NetControl(this.session, mac ?? randomMac());
    try {
      this.pairs = createQueuePairs(transport, queuePairs, maxQueuePairs, {
        features,
        mtu,
        queueSize,
        poolSize,
        bufferSize,
      });
    } catch (error) {
      this.session.free();
      throw error;
    }
    this.streams = new FrameDispatch({
      emit: (packet) => this.emit('frame', packet),
      hasListeners: () => this.listenerCount('frame') > 0,
      onWanted: () => this.datapath.onFramesWanted(),
    });
    this.datapath = new Datapath({
      transport,
      queuePairs: this.pairs,
      control: this.session,
      frames: this.streams,
      leases: this.leases,
      interrupts: settings.interrupts,
      budget: settings.budget,
      lookAtConfig: () => this.config.look(),
      lookAtConfigNowAndThen: () => this.config.lookNowAndThen(),
      onFailure: (error) => this.lifecycle.fail(error),
    });
    this.lifecycle = new Lifecycle(
      {
        transport,
        settings,
        log,
        features,
        config: this.config,
        queuePairs: this.pairs,
        control: this.session,
        streams: this.streams,
        datapath: this.datapath,
        leases: this.leases,
      },
      {
        onState: (state) => guard(() => this.emit('state', state)),
        onError: (error) => this.tellOf(error),
        onRecovered: (report) => guard(() => this.emit('recovered', report)),
        onRemoved: () => guard(() => this.emit('removed')),
        onClose: () => guard(() => this.emit('close')),
        onPairsChanged: () => this.servePairs(),
      },
    );
    this.handles = this.datapath.pairs.map((pair) => new NetQueuePair(pair, this.lifecycle));
    this.all = new AllPairs(this.handles);
    this.watchListeners();
  }

  /**
   * Opens a device: finds it, takes it over from the kernel, resets it, negotiates, and allocates rings and buffers.
   *
   * @param target - a PCI address such as `0000:00:10.0`; the socket of a vhost-user backend, as
   *   `vhost-user:/path/to/the.sock`; or a transport, such as that of the software device: the device owns it from then
   *   on, and closes it too where opening fails
   * @throws VirtioNetError with the codes PCI_*, VFIO_*, VHOST_USER_*, NATIVE_*, DEVICE_*, MEMORY_EXHAUSTED, OPTION_INVALID.
   *   Nothing is left behind then: the device has the driver that it had.
   */
  static async open(target: string | Transport, options: NetDeviceOptions = {}): Promise<NetDevice> {
    checkTarget(target);
    let transport = typeof target === 'string' ? undefined : target;
    let log: Logger | undefined;
    try {
      const settings = checkOptions(options);
      checkOptionsForTarget(target, settings);
      log = settings.logger ?? (await defaultLogger());
      settings.signal?.throwIfAborted();
      transport ??= await openTarget(target as string, settings, log);
      return await NetDevice.bringUp(transport, settings, log);
    } catch (error) {
      // The reason why opening failed matters more than what may go wrong now.
      await transport?.close().catch((closeError: unknown) => {
        log?.error({ err: closeError }, 'device could not be given back');
      });
      throw error;
    }
  }

  private static async bringUp(transport: Transport, settings: Settings, log: Logger): Promise<NetDevice> {
    await resetDevice(transport, settings.resetTimeout, settings.signal);
    let device: NetDevice | undefined;
    try {
      settings.signal?.throwIfAborted();
      const features = negotiate(transport, (offered) =>
        chooseFeatures(offered, settings.features, { legacy: transport.legacy }),
      );
      chooseAddressing(transport, features, settings.addressing);
      const own = log.child?.({ device: transport.name }) ?? log;
      for (const oddity of features.oddities) own.warn({}, `${oddity}; it is not used`);
      device = new NetDevice(transport, settings, own, features);
      if (settings.queuePairs > 1) await device.setQueuePairs(settings.queuePairs);
      const { lifecycle } = device;
      transport.onRemoval(() => lifecycle.remove(takenAway(transport)));
      transport.onAbsence?.({
        away: (reason) => lifecycle.goAway(reason),
        back: () => lifecycle.comeBack(),
      });
      own.info(
        {
          transport: transport.kind,
          mac: device.mac,
          mtu: device.mtu,
          link: device.linkUp,
          features: features.negotiated,
        },
        'device opened',
      );
      return device;
    } catch (error) {
      // What went wrong before matters more; and closing the transport copes with a device that does not reset.
      await abandon(transport, settings.resetTimeout).catch(() => undefined);
      // The device was never told of the memory, so that goes whether it is at rest or not.
      if (device !== undefined) freeAll([...device.pairs, device.session]);
      throw error;
    }
  }

  /** How many queue pairs are in use: those that were asked for at first, see {@link setQueuePairs}. */
  get queuePairs(): number {
    return this.control.queuePairs;
  }

  /**
   * Changes how many of the open queue pairs are used, from the first on: `queuePairs` of the options says how many are
   * open. Over a pair that is not used nothing can be sent, and calls that wait for that are rejected with
   * QUEUE_PAIR_UNUSED; what it has received can still be taken. On a device that is stopped it takes effect with
   * `start()`.
   *
   * @throws UsageError OPTION_INVALID, FEATURE_NOT_NEGOTIATED, DEVICE_CLOSED; DeviceError CONTROL_COMMAND_REFUSED,
   *   CONTROL_TIMEOUT
   */
  setQueuePairs(count: number): Promise<void> {
    return this.control.setQueuePairs(count);
  }

  /**
   * One of the queue pairs that are open, for bursts of its own. `receive()`, `transmit()` and so on of the device
   * serve all pairs.
   *
   * @param number - from 0 on
   * @throws UsageError OPTION_INVALID
   */
  queuePair(number: number): NetQueuePair {
    const pair = this.handles.at(Number.isInteger(number) && number >= 0 ? number : this.handles.length);
    if (pair !== undefined) return pair;
    throw new UsageError('OPTION_INVALID', `${this.address} has no queue pair ${String(number)} open`, {
      remedy: `Give a whole number from 0 to ${this.handles.length - 1}, or open the device with more { queuePairs }.`,
    });
  }

  /**
   * Lends a queue pair to a worker thread, which uses it with `attachQueuePair()`: with packet buffers of its own, and no
   * lock or message on the way of a packet. This thread stays in charge of the device; it no longer sends or receives
   * over the pair. The pair comes back when the device is next started or closed after the worker has closed the pair or
   * has ended. A worker that has not come to rest half a second after `drainTimeout`, when the
   * device does, has lost it.
   *
   * @param number - of the pair, from 0 on
   * @returns what to hand to the worker, with its `transferList`
   * @throws UsageError DEVICE_CLOSED, DEVICE_ALREADY_STARTED unless the device is stopped, OPTION_INVALID,
   *   QUEUE_PAIR_SHARED, SHARING_UNSUPPORTED; MemoryError, VfioError, NativeError
   */
  shareQueuePair(number: number): SharedQueuePair {
    const { transport, lifecycle, datapath, leases, settings, log, features, mtu } = this;
    lifecycle.checkOpen();
    this.queuePair(number);
    if (this.state !== 'stopped')
      throw new UsageError('DEVICE_ALREADY_STARTED', `${this.address} is ${this.state}`, {
        remedy: 'Share queue pairs before start(), or after stop().',
      });
    datapath.takeBack(() => this.servePairs());
    if (leases.get(number) !== undefined) throw lentAway(number, this.address);
    const { sharing } = transport;
    if (sharing === undefined) {
      throw new UsageError('SHARING_UNSUPPORTED', `${this.address} can not be used from other threads`);
    }
    const { queueSize, poolSize, bufferSize, interrupts, budget, drainTimeout } = settings;
    const lease = new Lease({
      transport,
      sharing,
      log,
      own: this.pairs[number],
      options: { features, mtu, queueSize, poolSize, bufferSize },
      interrupts,
      budget,
      drainTimeout,
      used: number < this.queuePairs,
      onFailure: (error) => lifecycle.fail(error),
    });
    datapath.lend(lease);
    this.servePairs();
    return lease.handle;
  }

  /** Where the device is: its PCI address, or the name of its transport. */
  get address(): string {
    return this.transport.name;
  }

  /** The MAC address of the card, 6 bytes. Made up and locally administered if the device tells none. */
  get macBytes(): Uint8Array {
    return this.control.macBytes;
  }

  /** The MAC address of the card, as text: `52:54:00:12:34:56`. */
  get mac(): string {
    return Array.from(this.macBytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
  }

  /** Whether the link was up when the device last told; it is taken to be up if the device never tells. */
  get linkUp(): boolean {
    return this.config.current.linkUp;
  }

  /** How fast the link was when the device last told; unknown if it never tells. */
  get linkSpeed(): LinkSpeed {
    const { speed, duplex } = this.config.current;
    return { speed, duplex };
  }

  get state(): NetDeviceState {
    return this.lifecycle.state;
  }

  /**
   * Lets frames flow: enables the queues, posts the receive buffers, and tells the device to go.
   *
   * @throws UsageError DEVICE_CLOSED, DEVICE_ALREADY_STARTED; DeviceError DEVICE_*; after the latter the device
   *   is stopped, and may be started again
   */
  start(): Promise<void> {
    return this.lifecycle.start();
  }

  /**
   * Brings the device to rest: waits for frames to leave (see `drainTimeout`), resets the device, and takes all
   * buffers back. Waiting `send()` calls are rejected. Packets that the program holds stay valid. Does nothing on a
   * device that is stopped.
   *
   * @throws UsageError DEVICE_CLOSED, DeviceError DEVICE_RESET_TIMEOUT
   */
  stop(): Promise<void> {
    return this.lifecycle.stop();
  }

  /**
   * Resets a device that runs or has failed, and brings it back: with the same features, fresh buffers in its rings,
   * and its settings. Sends that wait stay in their order and go out afterwards; iterations go on; what the device
   * had been given and had not finished is lost, which the report says, and `flush()` that waits for it is rejected.
   *
   * @throws UsageError DEVICE_CLOSED, DEVICE_NOT_STARTED; DeviceError DEVICE_*; after the latter the device has
   *   failed, and all who wait are told so
   */
  reset(): Promise<RecoveryReport> {
    return this.lifecycle.reset();
  }

  /**
   * Resets one queue of a running device, and enables it again with fresh buffers, while the others go on (VIRTIO 1.3,
   * 2.6.1). Otherwise as {@link reset}.
   *
   * @param queuePair - number of the queue pair, from 0 on
   * @throws UsageError FEATURE_NOT_NEGOTIATED without VIRTIO_F_RING_RESET, OPTION_INVALID, DEVICE_NOT_STARTED,
   *   DEVICE_CLOSED; DeviceError DEVICE_*, after which the device has failed
   */
  async resetQueue(queuePair: number, direction: Direction): Promise<RecoveryReport> {
    const { number } = this.queuePair(queuePair);
    requireDirection(direction);
    this.lifecycle.checkOpen();
    if (this.leases.get(number) !== undefined) throw lentAway(number, this.address);
    if (!this.features.has('VIRTIO_F_RING_RESET')) {
      throw new UsageError(
        'FEATURE_NOT_NEGOTIATED',
        `${this.address} can not reset a single queue: VIRTIO_F_RING_RESET was not negotiated`,
        { remedy: 'Reset the whole device, with reset().' },
      );
    }
    return this.lifecycle.resetQueue({ queuePair: number, direction });
  }

  /**
   * Stops the device and gives everything back: memory, interrupts, the device itself, to the driver that it had. Where
   * others of its IOMMU group are open, the last of them to be closed gives it back.
   * Views of packets that the program kept have length 0 from then on. Iterations end.
   *
   * @throws UsageError DEVICE_ALREADY_CLOSED if it was closed before; a call while closing waits for that instead
   */
  close(): Promise<void> {
    return this.lifecycle.close();
  }

  /** Closes the device, if it is not closed. For `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.state !== 'closed') await this.close();
  }

  /**
   * Takes received frames, without waiting, and posts fresh buffers in their place. Works with no event loop turning.
   * With several queue pairs each call serves one that has frames, in turn.
   *
   * @param batch - its first entries become the packets; they are yours until you release or transmit them
   * @param max - how many to take at most, 32 by default
   * @returns how many were taken
   * @throws UsageError DEVICE_NOT_STARTED, DEVICE_CLOSED, OPTION_INVALID; QueueError QUEUE_BROKEN; DeviceError
   *   DEVICE_NEEDS_RESET
   */
  receive(batch: PacketBuffer[], max?: number): number {
    return this.all.receive(batch, max);
  }

  /**
   * Hands packets to the device, without waiting, as far as the ring has room, and takes finished ones back to the
   * pool. Works with no event loop turning. With several queue pairs each packet goes out by the pair that it belongs
   * to: that of `allocate()` is the first, that of a received packet is the one that received it.
   *
   * @param batch - packets from `allocate()` or `receive()`
   * @param count - how many of its first entries to send
   * @returns how many were taken: those are the driver's now, the others stay yours
   * @throws UsageError FRAME_TOO_SHORT, FRAME_TOO_LONG, PACKET_NOT_OWNED, PACKET_CHAIN_INVALID, OFFLOAD_NOT_NEGOTIATED,
   *   OFFLOAD_INVALID if the first packet can not be sent (a later one ends the burst before it); QUEUE_PAIR_UNUSED,
   *   DEVICE_NOT_STARTED, DEVICE_CLOSED, OPTION_INVALID; QueueError QUEUE_BROKEN
   */
  transmit(batch: readonly PacketBuffer[], count: number = batch.length): number {
    return this.all.transmit(batch, count);
  }

  /**
   * Takes an empty packet buffer from the pool, to fill and transmit.
   *
   * @throws UsageError POOL_EXHAUSTED, DEVICE_CLOSED
   */
  allocate(): PacketBuffer {
    return this.handles[0].allocate();
  }

  /**
   * Takes up to `count` empty packet buffers from the pool; says how many there were.
   *
   * @throws UsageError DEVICE_CLOSED, OPTION_INVALID
   */
  allocateBatch(batch: PacketBuffer[], count: number): number {
    return this.handles[0].allocateBatch(batch, count);
  }

  /**
   * Gives the first `count` packets of the batch back, as `release()` does with each, and faster. Packets of other queue
   * pairs or devices go back to those. After `close()` it does nothing.
   *
   * @throws UsageError PACKET_NOT_OWNED if one was released or transmitted already; those before it are released then;
   *   OPTION_INVALID
   */
  releaseBatch(batch: readonly PacketBuffer[], count: number = batch.length): void {
    this.handles[0].releaseBatch(batch, count);
  }

  /**
   * Sends a frame, waiting for room in the ring where there is none. Frames leave in the order of the calls.
   *
   * @param frame - from the destination address on, without FCS. Bytes are copied: leave them as they are until the
   *   promise settles. A packet belongs to the driver once the promise is fulfilled, and stays yours if it is rejected;
   *   one that is only lent is kept as long as it has to wait, and goes back to the pool if it is rejected.
   * @returns a promise that is fulfilled when the device has been given the frame
   * @throws UsageError FRAME_TOO_SHORT, FRAME_TOO_LONG, PACKET_NOT_OWNED, PACKET_CHAIN_INVALID, OFFLOAD_NOT_NEGOTIATED,
   *   OFFLOAD_INVALID, POOL_EXHAUSTED if no buffer is free and none is on its way back from the device, or too few for
   *   the frame, QUEUE_PAIR_UNUSED, DEVICE_NOT_STARTED, DEVICE_CLOSED; QueueError QUEUE_BROKEN; the signal's reason
   */
  async send(frame: Uint8Array | PacketBuffer, options: { signal?: AbortSignal } = {}): Promise<void> {
    this.lifecycle.checkSendable();
    await this.all.send(frame, options.signal);
    // The frame was taken, so this promise is fulfilled even if the device has failed by now.
    this.lifecycle.failIfBroken();
  }

  /**
   * Waits until the device has finished all frames that it was given, those that others give it meanwhile included.
   *
   * @throws UsageError DEVICE_NOT_STARTED, DEVICE_CLOSED; QueueError QUEUE_BROKEN; the signal's reason
   */
  async flush(options: { signal?: AbortSignal } = {}): Promise<void> {
    this.lifecycle.checkSendable();
    await this.all.flush(options.signal);
    this.lifecycle.throwIfBroken();
  }

  /**
   * Received frames as an async iterator. Each packet is lent until the next iteration.
   *
   * @throws UsageError DEVICE_CLOSED, OPTION_INVALID; on a device that has failed, what it failed with
   */
  frames(options: FramesOptions = {}): FrameStream {
    this.lifecycle.checkOpen();
    this.lifecycle.throwIfFailed();
    return this.streams.openChecked(options);
  }

  [Symbol.asyncIterator](): FrameStream {
    return this.frames();
  }

  /**
   * One turn of the driver by hand, for programs that wait in a loop of their own: hands received frames to listeners
   * and iterators, lets waiting `send()` calls go on, and looks for changes of link and configuration. Works with no
   * event loop turning. A call from within a listener does nothing.
   *
   * @returns how many frames were received
   * @throws UsageError DEVICE_NOT_STARTED, DEVICE_CLOSED; QueueError QUEUE_BROKEN; DeviceError DEVICE_NEEDS_RESET
   */
  poll(): number {
    if (this.state !== 'running') return this.lifecycle.idle();
    try {
      const count = this.datapath.poll();
      this.lifecycle.throwIfBroken();
      return count;
    } catch (error) {
      this.lifecycle.fail(error as Error);
      if (this.lifecycle.isRecovering) return 0;
      throw error;
    }
  }

  /** The counters, since `open()`. */
  statistics(): NetStatistics {
    return snapshot(this.datapath, this.leases);
  }

  /** Lets the program end while it waits for interrupts of this device. */
  unref(): this {
    this.transport.setKeepAlive(false);
    return this;
  }

  /** Undoes `unref()`: a started device keeps the program running. */
  ref(): this {
    this.transport.setKeepAlive(true);
    return this;
  }

  /** As every emitter's. Without an event it removes the listeners of all events. */
  override removeAllListeners(event?: keyof NetDeviceEvents): this {
    if (event !== undefined) return super.removeAllListeners(event);
    super.removeAllListeners();
    this.watchListeners();
    return this;
  }

  /** Pairs may have been lent, or have come back: serves those that this thread has. */
  private servePairs(): void {
    const { handles, leases, lifecycle } = this;
    const own = handles.filter(({ number }) => leases.get(number) === undefined);
    for (const handle of handles) {
      handle.guardBy(own.includes(handle) ? lifecycle : new LentGate(handle.number, this.address));
    }
    this.all.serve(own, handles[0]);
  }

  /** Has the loop look for frames when somebody begins to listen. */
  private watchListeners(): void {
    (this as EventEmitter).on('newListener', (event) => {
      if (event === 'frame') this.datapath.onFramesWanted();
    });
  }

  /** The device asks for it, as after a migration: those who know what to say on the network are told first. */
  private announce(log: Logger): void {
    guard(() => this.emit('announce'));
    this.control.acknowledgeAnnounce().catch((error: unknown) => {
      log.warn({ err: error }, 'device could not be told that it was announced');
    });
  }

  /** Unlike other emitters this one does not crash a program that does not listen: its next call throws the error. */
  private tellOf(error: Error): void {
    if (this.listenerCount('error') > 0) guard(() => this.emit('error', error));
  }
}

/** From JavaScript anything may come; a transport that can not be closed must not be opened. */
function checkTarget(target: unknown): void {
  if (typeof target === 'string') return;
  if (typeof target === 'object' && target !== null && 'close' in target && 'notify' in target) return;
  throw new UsageError('OPTION_INVALID', `${describe(target)} is no device`, {
    remedy:
      'Give a PCI address such as 0000:00:10.0, a socket as vhost-user:/path, or a transport, such as ' +
      'createSimulatedDevice().transport.',
  });
}

function takenAway({ name }: Transport): DeviceError {
  return new DeviceError('DEVICE_REMOVED', `${name} is taken away`);
}

/** Tells the device that the driver has given up on it, and resets it. */
async function abandon(transport: Transport, resetTimeout: number): Promise<void> {
  giveUp(transport);
  await resetDevice(transport, resetTimeout);
}

/** A locally administered unicast address (VIRTIO 1.3, 5.1.4.2). */
function randomMac(): Uint8Array {
  const mac = crypto.getRandomValues(new Uint8Array(6));
  mac[0] = (mac[0] & 0xfc) | 0x02;
  return mac;
}
