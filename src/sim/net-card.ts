/** The network card: ties the two queues to the wire. */
import { UsageError } from '../errors.js';
import type { ConfigSpace } from './config-space.js';
import type { DeviceCore, DeviceFunction } from './core.js';
import type { DeviceQueue } from './device-queue.js';
import { hasFeature } from './features.js';
import type { NetworkHost } from './host.js';
import { longestFrame, Receiver, RECEIVE_QUEUE, Transmitter, TRANSMIT_QUEUE } from './net-function.js';
import { soon } from './scheduling.js';
import type { Counters } from './statistics.js';

const ETHERNET_HEADER = 14;
/** The longest frame where no MTU was agreed on. */
const NO_MTU_LIMIT = 65_535;

/** Gets a copy of each frame that the driver sends. */
export type TransmitListener = (frame: Uint8Array) => void;

export interface WireOptions {
  readonly host: NetworkHost | null;
  readonly mtu: number;
  readonly linkUp: boolean;
}

export class NetCard implements DeviceFunction {
  readonly #core: DeviceCore;
  readonly #config: ConfigSpace;
  readonly #counters: Counters;
  readonly #host: NetworkHost | null;
  readonly #listeners = new Set<TransmitListener>();
  #receiver: Receiver | undefined;
  #transmitter: Transmitter | undefined;
  #mtu: number;
  #mtuAgreed = false;
  #linkUp: boolean;
  #holdTransmit = false;

  constructor(core: DeviceCore, { host, mtu, linkUp }: WireOptions) {
    this.#core = core;
    this.#config = core.parts.config;
    this.#counters = core.parts.counters;
    this.#host = host;
    this.#mtu = mtu;
    this.#linkUp = linkUp;
  }

  queueEnabled(index: number, queue: DeviceQueue, features: bigint): void {
    this.#mtuAgreed = hasFeature(features, 'VIRTIO_NET_F_MTU');
    if (index === RECEIVE_QUEUE)
      this.#receiver = new Receiver(queue, hasFeature(features, 'VIRTIO_NET_F_MRG_RXBUF'));
    if (index === TRANSMIT_QUEUE) this.#transmitter = new Transmitter(queue, () => this.#frameLimit);
  }

  notified(index: number): void {
    if (index === RECEIVE_QUEUE) this.#receiver?.take();
    if (index === TRANSMIT_QUEUE) this.#transmit();
  }

  reset(): void {
    this.#receiver = undefined;
    this.#transmitter = undefined;
    this.#mtuAgreed = false;
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

  onTransmit(listener: TransmitListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  holdTransmit(hold: boolean): void {
    this.#holdTransmit = hold;
    if (!hold && this.#core.isLive) this.#core.work(TRANSMIT_QUEUE, () => this.#releaseTransmitted());
  }

  inject(frame: Uint8Array): boolean {
    if (frame.length < ETHERNET_HEADER) {
      throw new UsageError('FRAME_TOO_SHORT', `A frame of ${frame.length} bytes can not arrive`);
    }
    const drop = this.#reasonToDrop(frame) ?? this.#receive(frame);
    if (drop !== undefined) this.#counters[drop]++;
    return drop === undefined;
  }

  get #frameLimit(): number {
    return this.#mtuAgreed ? longestFrame(this.#mtu) : NO_MTU_LIMIT;
  }

  #reasonToDrop(frame: Uint8Array): 'dropsLinkDown' | 'dropsNotReady' | 'dropsTooLong' | undefined {
    if (!this.#linkUp) return 'dropsLinkDown';
    if (!this.#core.isLive || this.#receiver === undefined) return 'dropsNotReady';
    return frame.length > this.#frameLimit ? 'dropsTooLong' : undefined;
  }

  #receive(frame: Uint8Array): 'dropsNoBuffer' | 'dropsNotReady' | undefined {
    const delivered = this.#core.work(RECEIVE_QUEUE, () => {
      const fits = this.#receiver?.deliver(frame) ?? false;
      this.#core.publish(RECEIVE_QUEUE);
      return fits;
    });
    if (delivered !== true) return delivered === undefined ? 'dropsNotReady' : 'dropsNoBuffer';
    this.#counters.receivedFrames++;
    this.#counters.receivedBytes += frame.length;
    return undefined;
  }

  /** The buffers go back before the frames go out, so that whoever gets them may call the driver. */
  #transmit(): void {
    const frames = this.#transmitter?.take() ?? [];
    if (!this.#holdTransmit) this.#releaseTransmitted();
    for (const frame of frames) this.#send(frame);
  }

  #releaseTransmitted(): void {
    this.#transmitter?.release();
    this.#core.publish(TRANSMIT_QUEUE);
  }

  #send(frame: Uint8Array): void {
    if (!this.#linkUp) {
      this.#counters.transmitDrops++;
      return;
    }
    this.#counters.transmittedFrames++;
    this.#counters.transmittedBytes += frame.length;
    for (const listener of this.#listeners) callOut(() => listener(frame.slice()));
    callOut(() => this.#host?.receive(frame, (reply) => this.inject(reply)));
  }
}

/** Calls the user's code. The device must not stop halfway for its error, so that surfaces by itself. */
function callOut(call: () => void): void {
  try {
    call();
  } catch (error) {
    soon(() => {
      throw error;
    });
  }
}
