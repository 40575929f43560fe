/** The simulated network device, put together. */
import { UsageError } from '../errors.js';
import { SILENT, type Logger } from '../log.js';
import type { DmaMemory } from '../memory/dma.js';
import { parseMac } from '../packet/index.js';
import type { Transport } from '../transport/transport.js';
import { ConfigSpace } from './config-space.js';
import { DeviceCore } from './core.js';
import { featureBits, type SimulatedFeature } from './features.js';
import { createEchoHost, type NetworkHost } from './host.js';
import { Interrupts } from './interrupts.js';
import { SimulatedMemory } from './memory.js';
import { NetCard, type TransmitListener } from './net-card.js';
import { queueSizeProblem } from './queue-format.js';
import { noCounts, type SimulatedStatistics } from './statistics.js';
import { SimulatedTransport } from './transport.js';

const QUEUE_COUNT = 2;

export interface SimulatedDeviceOptions {
  /** What the device is called in logs and messages; `simulated` if it is left out. */
  readonly name?: string;
  /** The MAC address in the configuration; `52:54:00:12:34:56` if it is left out. */
  readonly mac?: string;
  /** The MTU in the configuration, 68 to 65535; 1500 if it is left out. */
  readonly mtu?: number;
  /**
   * The features that the device offers, by name or as bits. If it is left out: VIRTIO_F_VERSION_1,
   * VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_RING_EVENT_IDX, VIRTIO_F_RING_INDIRECT_DESC, VIRTIO_NET_F_MAC,
   * VIRTIO_NET_F_STATUS and VIRTIO_NET_F_MTU. On request there are VIRTIO_F_RING_PACKED, for packed virtqueues
   * in place of split ones, and VIRTIO_NET_F_MRG_RXBUF. Bits that it does not implement may be offered, but it
   * refuses FEATURES_OK to a driver that accepts one.
   */
  readonly features?: bigint | readonly SimulatedFeature[];
  /** A last word on the features that a driver chose, so that a refusal can be tested. */
  readonly acceptFeatures?: (features: bigint) => boolean;
  /**
   * The largest size of each queue, up to 32768; 256 if it is left out. It must be a power of two, unless
   * VIRTIO_F_RING_PACKED is offered: then a driver that does not accept that is told the next lower power of two.
   */
  readonly queueSize?: number;
  /** Whether the link is up at first; true if it is left out. */
  readonly linkUp?: boolean;
  /** What is at the other end of the wire: an echo host at 10.0.2.2 if it is left out, nobody with null. */
  readonly host?: NetworkHost | null;
  /** How many interrupt vectors there are; one for each queue and the configuration if it is left out. */
  readonly vectors?: number;
  /** How long an interrupt takes, in milliseconds; with 0 it comes on the next turn of the event loop. */
  readonly interruptDelayMs?: number;
  /** How many bytes of DMA memory there are; 1 GiB if it is left out. */
  readonly memoryLimit?: number;
  /** Whether the memory claims to lie behind an IOMMU, see `DmaMemory.behindIommu`; true if it is left out. */
  readonly behindIommu?: boolean;
  /** Whether to check that the driver leaves alone what the device owns: descriptors, buffers, its area. */
  readonly isolation?: boolean;
  /**
   * Whether the device returns buffers by the batch, all by the entry of the last one, where VIRTIO_F_IN_ORDER was
   * negotiated, which allows that; true if it is left out. Otherwise each buffer has an entry of its own.
   */
  readonly usedBatches?: boolean;
  /** Told of every rule that the driver breaks. */
  readonly logger?: Logger;
}

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
   * A frame arrives from the wire.
   *
   * @returns whether the driver got it; if not, `statistics` says why
   * @throws UsageError FRAME_TOO_SHORT
   */
  inject(frame: Uint8Array): boolean;
  /** Calls the listener with a copy of each frame that the driver sends, until the function returned is called. */
  onTransmit(listener: TransmitListener): () => void;
  /**
   * While held, the device keeps the transmit buffers that it takes, as a slow one does; the frames go out all
   * the same. Letting go returns them.
   */
  holdTransmit(hold: boolean): void;
  /** The device meets an error of its own: sets DEVICE_NEEDS_RESET, interrupts, and stops working. */
  needsReset(): void;
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
  #transport: SimulatedTransport | undefined;

  constructor(options: SimulatedDeviceOptions) {
    const wire = {
      host: options.host === undefined ? createEchoHost() : options.host,
      mtu: checkedMtu(options.mtu ?? 1500),
      linkUp: options.linkUp ?? true,
    };
    const offered = featureBits(options.features);
    const mac = parseMac(options.mac ?? '52:54:00:12:34:56');
    this.#core = createCore(options, offered, new ConfigSpace({ ...wire, offered, mac }));
    this.#card = new NetCard(this.#core, wire);
    this.#core.attach(this.#card);
  }

  get transport(): Transport {
    this.#transport ??= new SimulatedTransport(this.#core, () => (this.#transport = undefined));
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

  inject(frame: Uint8Array): boolean {
    return this.#card.inject(frame);
  }

  onTransmit(listener: TransmitListener): () => void {
    return this.#card.onTransmit(listener);
  }

  holdTransmit(hold: boolean): void {
    this.#card.holdTransmit(hold);
  }

  needsReset(): void {
    this.#core.askForReset();
  }
}

function createCore(options: SimulatedDeviceOptions, offered: bigint, config: ConfigSpace): DeviceCore {
  const settings = {
    name: options.name ?? 'simulated',
    offered,
    acceptFeatures: options.acceptFeatures ?? (() => true),
    queueCount: QUEUE_COUNT,
    queueSize: checkedQueueSize(options.queueSize ?? 256, offered),
    isolation: options.isolation ?? false,
    usedBatches: options.usedBatches ?? true,
    logger: options.logger ?? SILENT,
  };
  const vectors = checkedNumber('vectors', options.vectors ?? QUEUE_COUNT + 1, 0, 2048);
  const delayMs = checkedNumber('interruptDelayMs', options.interruptDelayMs ?? 0, 0, 2 ** 31 - 1);
  const memoryLimit = checkedNumber('memoryLimit', options.memoryLimit ?? 2 ** 30, 0, 2 ** 32);
  return new DeviceCore(settings, {
    memory: new SimulatedMemory({ limit: memoryLimit, behindIommu: options.behindIommu ?? true }),
    interrupts: new Interrupts({ vectors, delayMs }),
    config,
    counters: noCounts(),
  });
}

function checkedMtu(mtu: number): number {
  return checkedNumber('mtu', mtu, 68, 65_535);
}

function checkedQueueSize(size: number, offered: bigint): number {
  const problem = queueSizeProblem(size, offered);
  if (problem === undefined) return size;
  throw new UsageError('OPTION_INVALID', `queueSize is ${size}, which ${problem}`);
}

function checkedNumber(name: string, value: number, min: number, max: number): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new UsageError('OPTION_INVALID', `${name} is ${value}, not a whole number from ${min} to ${max}`);
}
