/** The network card: ties its queues to the wire. */
import { UsageError } from '../../errors.js';
import type { ConfigSpace } from '../config-space.js';
import type { DeviceCore, DeviceFunction } from '../core.js';
import type { DeviceQueue } from '../device-queue.js';
import type { NetworkHost } from '../host.js';
import type { Counters } from '../statistics.js';
import { DriverViolation } from '../violation.js';
import { Controller, type CommandListener, type CommandVerdict, type ControlCommand } from './control.js';
import { arrivalsOf, type ArrivingOffload, type Arrival } from './delivery.js';
import { GSO_TYPE, HEADER_FLAG } from './header.js';
import { CHECKSUM_STATE } from './offload.js';
import { Receiver } from './receiver.js';
import { NetRules } from './rules.js';
import { wireFramesOf } from './segmentation.js';
import { NetState, type NetLimits } from './state.js';
import { Transmitter, type TakenFrame } from './transmitter.js';
import { Wire, type TransmitListener } from './wire.js';

const ETHERNET_HEADER = 14;
const VLAN_TAG = 4;
/** The longest frame where no MTU was agreed on. */
const NO_MTU_LIMIT = 65_535;

/** Why a frame from the wire does not reach the driver. */
type DropReason = 'dropsLinkDown' | 'dropsNotReady' | 'dropsTooLong' | 'dropsFiltered' | 'dropsNoBuffer';

export interface CardOptions {
  readonly host: NetworkHost | null;
  readonly mtu: number;
  readonly linkUp: boolean;
  readonly legacy: boolean;
  readonly segment: boolean;
  readonly limits: NetLimits;
}

export class NetCard implements DeviceFunction {
  readonly #core: DeviceCore;
  readonly #config: ConfigSpace;
  readonly #counters: Counters;
  readonly #options: CardOptions;
  readonly #wire: Wire;
  readonly #commandListeners = new Set<CommandListener>();
  readonly #receivers = new Map<number, Receiver>();
  readonly #transmitters = new Map<number, Transmitter>();
  #controller: Controller | undefined;
  #state: NetState | undefined;
  #mtu: number;
  #linkUp: boolean;
  #holdTransmit = false;

  constructor(core: DeviceCore, options: CardOptions) {
    this.#core = core;
    this.#config = core.parts.config;
    this.#counters = core.parts.counters;
    this.#options = options;
    this.#mtu = options.mtu;
    this.#linkUp = options.linkUp;
    this.#wire = new Wire(options.host, options.segment, (frame, offload) => this.inject(frame, offload));
  }

  negotiated(features: bigint): void {
    this.#state = new NetState(new NetRules(features, this.#options.legacy), {
      config: this.#config,
      limits: this.#options.limits,
      queueCounters: this.#counters.queues,
      isQueueEnabled: (queue) => this.#core.isQueueEnabled(queue),
      raise: (queue) => this.#core.raiseHeld(queue),
    });
  }

  queueEnabled(index: number, queue: DeviceQueue): void {
    const state = this.#negotiatedState();
    if (index === state.controlQueue) {
      this.#controller = new Controller(queue, state, (command) => this.#verdictOn(command));
    } else if (index >= 2 * state.pairCount) {
      throw new DriverViolation(`it was enabled, but with the features negotiated there is no such queue`);
    } else if (index % 2 === 0) {
      this.#receivers.set(index, new Receiver(queue, state.rules));
    } else {
      this.#transmitters.set(index, new Transmitter(queue, state.rules, () => this.#frameLimit));
    }
  }

  queueReset(index: number): void {
    this.#receivers.delete(index);
    this.#transmitters.delete(index);
    this.#state?.coalescing.forget(index);
    if (index === this.#state?.controlQueue) this.#controller = undefined;
  }

  notified(index: number): void {
    this.#receivers.get(index)?.take();
    if (this.#transmitters.has(index)) this.#transmit(index);
    if (index === this.#state?.controlQueue) this.#controller?.take(() => this.#core.publish(index));
  }

  holdsInterrupt(index: number, packets: number): boolean {
    return index !== this.#state?.controlQueue && this.#state?.coalescing.holds(index, packets) === true;
  }

  reset(): void {
    this.#receivers.clear();
    this.#transmitters.clear();
    this.#controller = undefined;
    this.#state?.coalescing.stop();
    this.#state = undefined;
    this.#config.reset();
  }

  get linkUp(): boolean {
    return this.#linkUp;
  }

  setLink(up: boolean): void {
    this.#linkUp = up;
    if (this.#config.setLink(up)) this.#core.configChanged();
  }

  setMtu(mtu: number): void {
    this.#mtu = mtu;
    if (this.#config.setMtu(mtu)) this.#core.configChanged();
  }

  setSpeed(speed: number, duplex: number): void {
    if (this.#config.setSpeed(speed, duplex)) this.#core.configChanged();
  }

  /** Only a driver that knows of it is asked. */
  announce(): void {
    if (this.#state?.rules.has('VIRTIO_NET_F_GUEST_ANNOUNCE') !== true) return;
    if (this.#config.setAnnounce(true)) this.#core.configChanged();
  }

  onTransmit(listener: TransmitListener): () => void {
    return this.#wire.onTransmit(listener);
  }

  onCommand(listener: CommandListener): () => void {
    this.#commandListeners.add(listener);
    return () => void this.#commandListeners.delete(listener);
  }

  holdTransmit(hold: boolean): void {
    this.#holdTransmit = hold;
    if (hold || !this.#core.isLive) return;
    for (const index of this.#transmitters.keys())
      this.#core.work(index, () => this.#releaseTransmitted(index));
  }

  inject(frame: Uint8Array, offload: ArrivingOffload = {}): boolean {
    if (frame.length < ETHERNET_HEADER) {
      throw new UsageError('FRAME_TOO_SHORT', `A frame of ${frame.length} bytes can not arrive`);
    }
    const state = this.#state;
    const arrivals = arrivalsOf(frame, offload, (feature) => state?.offloads.has(feature) === true);
    if (arrivals === undefined) {
      throw new UsageError('OPTION_INVALID', 'The frame is not what its offload fields say');
    }
    let complete = true;
    for (const arrival of arrivals) {
      const drop = this.#reasonToDrop(arrival) ?? this.#receive(arrival);
      if (drop === undefined) continue;
      this.#counters[drop]++;
      complete = false;
    }
    return complete;
  }

  injectRaw(packet: Uint8Array, queue: number): boolean {
    const receiver = this.#receivers.get(queue);
    if (receiver === undefined || !this.#core.isLive) return false;
    return this.#give(queue, () => receiver.deliverRaw(packet)) === true;
  }

  get #frameLimit(): number {
    const agreed = this.#state?.rules.has('VIRTIO_NET_F_MTU') === true;
    return agreed ? this.#mtu + ETHERNET_HEADER + VLAN_TAG : NO_MTU_LIMIT;
  }

  #negotiatedState(): NetState {
    if (this.#state !== undefined) return this.#state;
    throw new DriverViolation('it was enabled before the features were negotiated');
  }

  #verdictOn(command: ControlCommand): CommandVerdict {
    let verdict: CommandVerdict;
    for (const listener of this.#commandListeners) verdict ??= listener(command) ?? undefined;
    return verdict;
  }

  #reasonToDrop({ frame, header }: Arrival): DropReason | undefined {
    if (!this.#linkUp) return 'dropsLinkDown';
    if (!this.#core.isLive || this.#state === undefined || this.#receivers.size === 0) return 'dropsNotReady';
    if (header.gsoType === GSO_TYPE.NONE && frame.length > this.#frameLimit) return 'dropsTooLong';
    return this.#state.filter.accepts(frame) ? undefined : 'dropsFiltered';
  }

  #receive({ frame, header }: Arrival): DropReason | undefined {
    const { steering } = this.#negotiatedState();
    const { pair, hash } = steering.targetOf(frame);
    const index = this.#receivers.has(2 * pair) || steering.isFixed ? 2 * pair : this.#anyReceiver();
    const receiver = this.#receivers.get(index);
    if (receiver === undefined) return 'dropsNotReady';
    const hashed = { ...header, hash: hash?.value ?? 0, hashReport: hash?.report ?? 0 };
    const delivered = this.#give(index, () => receiver.deliver(frame, hashed));
    if (delivered === true) {
      this.#countReceived(index, frame, header.flags, header.gsoType);
      return undefined;
    }
    const counters = this.#counters.queues[index];
    counters.drops++;
    if (delivered === false) counters.dropsNoBuffer++;
    return delivered === undefined ? 'dropsNotReady' : 'dropsNoBuffer';
  }

  /** While the queue of a flow is reset, its frames go to another one. */
  #anyReceiver(): number {
    const [first = 0] = this.#receivers.keys();
    return first;
  }

  #give(index: number, deliver: () => boolean): boolean | undefined {
    return this.#core.work(index, () => {
      const fits = deliver();
      this.#core.publish(index);
      return fits;
    });
  }

  #countReceived(index: number, { length }: Uint8Array, flags: number, gsoType: number): void {
    const counters = this.#counters.queues[index];
    this.#counters.receivedFrames++;
    this.#counters.receivedBytes += length;
    counters.frames++;
    counters.bytes += length;
    if ((flags & HEADER_FLAG.NEEDS_CSUM) !== 0) counters.checksumsNeeded++;
    if ((flags & HEADER_FLAG.DATA_VALID) !== 0) counters.checksumsValid++;
    if (gsoType === GSO_TYPE.NONE) return;
    counters.gsoFrames++;
    counters.gsoBytes += length;
  }

  /** The buffers go back before the frames go out, so that whoever gets them may call the driver. */
  #transmit(index: number): void {
    const frames = this.#transmitters.get(index)?.take() ?? [];
    const { steering } = this.#negotiatedState();
    const pair = (index - 1) / 2;
    if (frames.length > 0 && pair >= steering.transmitPairs) {
      throw new DriverViolation(`it was used, but ${steering.transmitPairs} pairs of queues are in use`);
    }
    if (!this.#holdTransmit) this.#releaseTransmitted(index);
    for (const taken of frames) {
      steering.learn(taken.frame, pair);
      this.#send(taken, index);
    }
  }

  #releaseTransmitted(index: number): void {
    const packets = this.#transmitters.get(index)?.release() ?? 0;
    this.#core.publish(index, packets);
  }

  #send(taken: TakenFrame, index: number): void {
    const counters = this.#counters.queues[index];
    if (!this.#linkUp) {
      this.#counters.transmitDrops++;
      counters.drops++;
      return;
    }
    const { frame, offload } = taken;
    this.#counters.transmittedFrames++;
    this.#counters.transmittedBytes += frame.length;
    counters.frames++;
    counters.bytes += frame.length;
    if (offload.checksum === CHECKSUM_STATE.NEEDED) counters.checksumsNeeded++;
    if (offload.gso !== GSO_TYPE.NONE) this.#countSegments(taken, index);
    this.#wire.send(taken, index);
  }

  #countSegments({ frame, offload }: TakenFrame, index: number): void {
    const counters = this.#counters.queues[index];
    const segments = wireFramesOf(frame, offload) ?? [];
    counters.gsoFrames++;
    counters.gsoBytes += frame.length;
    counters.segments += segments.length;
    counters.segmentBytes += segments.reduce((sum, { length }) => sum + length, 0);
  }
}
