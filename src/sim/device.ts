/** The simulated network device, put together. */
import type { DmaMemory } from '../memory/dma.js';
import type { Transport } from '../transport/transport.js';
import type { DeviceCore } from './core.js';
import { NetCard } from './net/card.js';
import type { CommandListener } from './net/control.js';
import type { ArrivingOffload } from './net/delivery.js';
import type { TransmitListener } from './net/wire.js';
import { checkedMtu, checkedSettings, checkedSpeed, createCore } from './options.js';
import type { SimulatedDeviceOptions, SimulatedDuplex } from './options.js';
import { Removal } from './removal.js';
import type { SimulatedStatistics } from './statistics.js';
import { SimulatedTransport } from './transport.js';

/**
 * A virtio network device in software, the other end of the rings, for programs and tests without a card.
 *
 * It is strict: every rule of the specification that the driver breaks is recorded in `violations`, and puts
 * the device into DEVICE_NEEDS_RESET. It works within `transport.notify()`, so that a program that polls needs
 * no event loop; its interrupts come on the event loop.
 */
export interface SimulatedDevice {
  /** The transport that is open; opens one where none is. Its memory stays the device's. */
  readonly transport: Transport;
  /** How many transports are open: 0 or 1. */
  readonly openCount: number;
  /** The memory behind every transport of the device; `allocatedBytes` shows what was not freed. */
  readonly memory: DmaMemory;
  /** What rules the driver broke since the device was made, a sentence each. */
  readonly violations: readonly string[];
  /** What was counted since the device was made. */
  readonly statistics: SimulatedStatistics;
  /** Whether the link is up. */
  readonly linkUp: boolean;

  /** Takes the link up or down: nothing crosses the wire while it is down. */
  setLink(up: boolean): void;
  /**
   * Changes the MTU. A device that keeps to the specification never does so once it was read (VIRTIO 1.3,
   * 5.1.4.1); what a driver makes of it can be tested by it.
   *
   * @throws UsageError OPTION_INVALID
   */
  setMtu(mtu: number): void;
  /**
   * Changes speed and duplex mode, either to unknown if it is left out. A device that keeps to the specification does
   * so while the link is down (VIRTIO 1.3, 5.1.4.1).
   *
   * @throws UsageError OPTION_INVALID
   */
  setSpeed(speed?: number, duplex?: SimulatedDuplex): void;
  /** Asks the driver to announce itself to the network (VIRTIO_NET_F_GUEST_ANNOUNCE), as after a migration. */
  announce(): void;
  /**
   * A frame arrives from the wire.
   *
   * @returns whether the driver got it; if not, `statistics` says why
   * @throws UsageError FRAME_TOO_SHORT
   */
  inject(frame: Uint8Array): boolean;
  /**
   * A frame arrives with offload fields: a checksum that is partial or was found right, or a large packet. Where the
   * driver has not negotiated or has turned off what they need, it gets whole frames with complete checksums.
   *
   * The device itself puts the sum of the pseudo header where a partial checksum of TCP or UDP goes; fields that are
   * left out it finds in the frame.
   *
   * @returns whether the driver got all of it; if not, `statistics` says why
   * @throws UsageError FRAME_TOO_SHORT; OPTION_INVALID if the frame is not what the fields say
   */
  injectOffload(frame: Uint8Array, offload: ArrivingOffload): boolean;
  /**
   * Puts bytes into the next receive buffers as they are, header of virtio and all, whatever was negotiated: what a
   * driver makes of a device that breaks the rules can be tested by it.
   *
   * @param queue - index of a receive queue; 0 if it is left out
   * @returns whether the driver had room for them
   */
  injectRaw(packet: Uint8Array, queue?: number): boolean;
  /** Calls the listener with a copy of each frame that the driver sends, until the function returned is called. */
  onTransmit(listener: TransmitListener): () => void;
  /**
   * Calls the listener with each command of the control queue before it is carried out, until the function returned
   * is called. It may say `refuse`: the device answers VIRTIO_NET_ERR; or `silence`: it never answers.
   */
  onCommand(listener: CommandListener): () => void;
  /**
   * While held, the device keeps the transmit buffers that it takes, as a slow one does; the frames go out all
   * the same. Letting go returns them.
   */
  holdTransmit(hold: boolean): void;
  /** The device meets an error of its own: sets DEVICE_NEEDS_RESET, interrupts, and stops working. */
  needsReset(): void;
  /** The machine asks the driver to give the device up (`Transport.onRemoval`); the device goes on until `unplug()`. */
  requestRemoval(): void;
  /** The device goes, asked for or not: whatever is read of it is all ones, and what is written has no effect. */
  unplug(): void;
  /** An interrupt comes that has no cause, as from another device on the same line. */
  interruptWithoutCause(): void;
}

/**
 * Makes a simulated network device.
 *
 * @throws UsageError OPTION_INVALID, ADDRESS_MALFORMED
 */
export function createSimulatedDevice(options: SimulatedDeviceOptions = {}): SimulatedDevice {
  return new NetDeviceModel(options);
}

class NetDeviceModel implements SimulatedDevice {
  readonly #core: DeviceCore;
  readonly #card: NetCard;
  #removal = new Removal();
  #transport: SimulatedTransport | undefined;

  constructor(options: SimulatedDeviceOptions) {
    const settings = checkedSettings(options);
    this.#core = createCore(settings);
    this.#card = new NetCard(this.#core, settings);
    this.#core.attach(this.#card);
  }

  get transport(): Transport {
    this.#transport ??= new SimulatedTransport(
      this.#core,
      this.#removal,
      () => (this.#transport = undefined),
    );
    return this.#transport;
  }

  get openCount(): number {
    return this.#transport === undefined ? 0 : 1;
  }

  get memory(): DmaMemory {
    return this.#core.parts.memory;
  }

  get violations(): readonly string[] {
    return this.#core.violations;
  }

  get statistics(): SimulatedStatistics {
    return this.#core.parts.counters;
  }

  get linkUp(): boolean {
    return this.#card.linkUp;
  }

  setLink(up: boolean): void {
    this.#card.setLink(up);
  }

  setMtu(mtu: number): void {
    this.#card.setMtu(checkedMtu(mtu));
  }

  setSpeed(speed?: number, duplex?: SimulatedDuplex): void {
    const checked = checkedSpeed(speed, duplex);
    this.#card.setSpeed(checked.speed, checked.duplex);
  }

  announce(): void {
    this.#card.announce();
  }

  inject(frame: Uint8Array): boolean {
    return this.#card.inject(frame);
  }

  injectOffload(frame: Uint8Array, offload: ArrivingOffload): boolean {
    return this.#card.inject(frame, offload);
  }

  injectRaw(packet: Uint8Array, queue = 0): boolean {
    return this.#card.injectRaw(packet, queue);
  }

  onTransmit(listener: TransmitListener): () => void {
    return this.#card.onTransmit(listener);
  }

  onCommand(listener: CommandListener): () => void {
    return this.#card.onCommand(listener);
  }

  holdTransmit(hold: boolean): void {
    this.#card.holdTransmit(hold);
  }

  needsReset(): void {
    this.#core.askForReset();
  }

  requestRemoval(): void {
    this.#removal.request();
  }

  unplug(): void {
    this.#core.stop();
    this.#removal.go();
  }

  interruptWithoutCause(): void {
    this.#core.parts.interrupts.raiseSpurious();
  }
}
