/** What a simulated device is made with, and what is made of it. */
import { UsageError } from '../errors.js';
import { SILENT, type Logger } from '../log.js';
import { parseMac } from '../packet/index.js';
import { ConfigSpace } from './config-space.js';
import { DeviceCore } from './core.js';
import { featureBits, hasFeature, type SimulatedFeature } from './features.js';
import { createEchoHost, type NetworkHost } from './host.js';
import { Interrupts } from './interrupts.js';
import { SimulatedMemory } from './memory.js';
import type { CardOptions } from './net/card.js';
import { ALL_HASH_TYPES } from './net/hashing.js';
import { ALL_TUNNEL_TYPES } from './net/tunnel.js';
import { queueSizeProblem } from './queue-format.js';
import { noCounts } from './statistics.js';

const UNKNOWN_SPEED = 0xffff_ffff;
const HIGHEST_SPEED = 0x7fff_ffff;
const DUPLEX = { half: 0, full: 1, unknown: 0xff } as const;

/** Whether a link sends and receives at the same time. */
export type SimulatedDuplex = keyof typeof DUPLEX;

export interface SimulatedDeviceOptions {
  /** What the device is called in logs and messages; `simulated` if it is left out. */
  readonly name?: string;
  /** The MAC address in the configuration; `52:54:00:12:34:56` if it is left out. */
  readonly mac?: string;
  /** The MTU in the configuration, 68 to 65535; 1500 if it is left out. */
  readonly mtu?: number;
  /** The speed in the configuration, in Mbit/s; unknown if it is left out. */
  readonly speed?: number;
  /** The duplex mode in the configuration; `unknown` if it is left out. */
  readonly duplex?: SimulatedDuplex;
  /**
   * The features that the device offers, by name or as bits. If it is left out: VIRTIO_F_VERSION_1,
   * VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_RING_EVENT_IDX, VIRTIO_F_RING_INDIRECT_DESC, VIRTIO_NET_F_MAC,
   * VIRTIO_NET_F_STATUS and VIRTIO_NET_F_MTU, or of a legacy device those among them that it can have. On request
   * there are all that `SIMULATED_FEATURES` names. Bits that it does not implement may be offered, but it refuses
   * FEATURES_OK to a driver that accepts one.
   */
  readonly features?: bigint | readonly SimulatedFeature[];
  /** A last word on the features that a driver chose, so that a refusal can be tested. */
  readonly acceptFeatures?: (features: bigint) => boolean;
  /**
   * Whether the device has the legacy interface (virtio 0.9.5) in place of the modern one: 32 feature bits, no
   * FEATURES_OK, queues of fixed size in one piece of memory, a MAC address that can be written; false if it is left
   * out.
   */
  readonly legacy?: boolean;
  /**
   * The largest size of each queue, up to 32768; 256 if it is left out. A list says it for each queue, from 0 on, and
   * its last number holds for the rest. It must be a power of two, unless VIRTIO_F_RING_PACKED is offered: then a
   * driver that does not accept that is told the next lower power of two.
   */
  readonly queueSize?: number | readonly number[];
  /**
   * How many pairs of queues there are where VIRTIO_NET_F_MQ or VIRTIO_NET_F_RSS is offered, 1 to 32768; 4 if it is
   * left out. The control queue, with VIRTIO_NET_F_CTRL_VQ, comes behind them.
   */
  readonly maxQueuePairs?: number;
  /** The longest key for hashes, 40 to 255 bytes; 40 if it is left out. */
  readonly rssMaxKeySize?: number;
  /** The longest indirection table, 128 to 32768 entries; 128 if it is left out. */
  readonly rssMaxTableLength?: number;
  /** The hash types and encapsulation types that the device supports, as bits; all if they are left out. */
  readonly hashTypes?: number;
  readonly tunnelTypes?: number;
  /**
   * Whether the driver gets frames for all addresses and VLANs until it turns that off, as cards of QEMU do; false if
   * it is left out: with VIRTIO_NET_F_CTRL_RX, those for others are dropped from the start.
   */
  readonly promiscuous?: boolean;
  /**
   * Whether the device cuts large packets into the frames that a wire carries, and completes their checksums, before
   * `onTransmit()` and the host get them; false if it is left out: then they come as the driver gave them.
   */
  readonly segment?: boolean;
  /** Whether the link is up at first; true if it is left out. */
  readonly linkUp?: boolean;
  /** What is at the other end of the wire: an echo host at 10.0.2.2 if it is left out, nobody with null. */
  readonly host?: NetworkHost | null;
  /**
   * How many interrupt vectors there are; one for each queue and the configuration if it is left out. With fewer
   * they are shared; with 0 there is one line for all, as of PCI INTx.
   */
  readonly vectors?: number;
  /** Whether the device has interrupts at all, or can be polled only; true if it is left out. */
  readonly interrupts?: boolean;
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

/** The options with all that was left out, checked. */
export interface Settings extends CardOptions {
  readonly given: SimulatedDeviceOptions;
  readonly offered: bigint;
}

/** @throws UsageError OPTION_INVALID, ADDRESS_MALFORMED */
export function checkedSettings(given: SimulatedDeviceOptions): Settings {
  const legacy = given.legacy ?? false;
  const offered = featureBits(given.features, legacy);
  const hasSeveral = hasFeature(offered, 'VIRTIO_NET_F_MQ') || hasFeature(offered, 'VIRTIO_NET_F_RSS');
  const pairs = checkedNumber('maxQueuePairs', given.maxQueuePairs ?? 4, 1, 32_768);
  return {
    given,
    offered,
    legacy,
    host: given.host === undefined ? createEchoHost() : given.host,
    mtu: checkedMtu(given.mtu ?? 1500),
    linkUp: given.linkUp ?? true,
    segment: given.segment ?? false,
    limits: {
      maxPairs: hasSeveral ? pairs : 1,
      rssMaxKeySize: checkedNumber('rssMaxKeySize', given.rssMaxKeySize ?? 40, 40, 255),
      rssMaxTableLength: checkedNumber('rssMaxTableLength', given.rssMaxTableLength ?? 128, 128, 32_768),
      hashTypes: checkedNumber('hashTypes', given.hashTypes ?? ALL_HASH_TYPES, 0, 2 ** 32 - 1),
      tunnelTypes: checkedNumber('tunnelTypes', given.tunnelTypes ?? ALL_TUNNEL_TYPES, 0, 2 ** 32 - 1),
      promiscuous: given.promiscuous ?? false,
    },
  };
}

/** @throws UsageError OPTION_INVALID, ADDRESS_MALFORMED */
export function createCore(settings: Settings): DeviceCore {
  const { given, offered, legacy, limits } = settings;
  const queueCount = 2 * limits.maxPairs + (hasFeature(offered, 'VIRTIO_NET_F_CTRL_VQ') ? 1 : 0);
  const vectors = checkedNumber('vectors', given.vectors ?? queueCount + 1, 0, 65_536);
  const delayMs = checkedNumber('interruptDelayMs', given.interruptDelayMs ?? 0, 0, 2 ** 31 - 1);
  const limit = checkedNumber('memoryLimit', given.memoryLimit ?? 2 ** 30, 0, 2 ** 32);
  const core = {
    name: given.name ?? 'simulated',
    offered,
    legacy,
    acceptFeatures: given.acceptFeatures ?? (() => true),
    queueSizes: queueSizes(given.queueSize ?? 256, queueCount, offered),
    isolation: given.isolation ?? false,
    usedBatches: given.usedBatches ?? true,
    logger: given.logger ?? SILENT,
  };
  return new DeviceCore(core, {
    memory: new SimulatedMemory({ limit, behindIommu: given.behindIommu ?? true }),
    interrupts: new Interrupts({ vectors, available: given.interrupts ?? true, delayMs }),
    config: configSpaceFor(settings),
    counters: noCounts(queueCount),
  });
}

function configSpaceFor({ given, offered, legacy, mtu, linkUp, limits }: Settings): ConfigSpace {
  const mac = parseMac(given.mac ?? '52:54:00:12:34:56');
  const { speed, duplex } = checkedSpeed(given.speed, given.duplex);
  return new ConfigSpace({ ...limits, offered, legacy, mac, mtu, linkUp, speed, duplex });
}

/** @throws UsageError OPTION_INVALID */
export function checkedMtu(mtu: number): number {
  return checkedNumber('mtu', mtu, 68, 65_535);
}

/**
 * The numbers of the configuration for a speed in Mbit/s and a duplex mode, either unknown if it is left out.
 *
 * @throws UsageError OPTION_INVALID
 */
export function checkedSpeed(
  speed: number | undefined,
  duplex: SimulatedDuplex = 'unknown',
): { speed: number; duplex: number } {
  if (!Object.hasOwn(DUPLEX, duplex))
    throw new UsageError('OPTION_INVALID', `duplex is ${JSON.stringify(duplex)}, not half, full or unknown`);
  const known = speed === undefined ? UNKNOWN_SPEED : checkedNumber('speed', speed, 0, HIGHEST_SPEED);
  return { speed: known, duplex: DUPLEX[duplex] };
}

function queueSizes(size: number | readonly number[], count: number, offered: bigint): number[] {
  const sizes = typeof size === 'number' ? [size] : size;
  return Array.from({ length: count }, (_, queue) =>
    checkedQueueSize(sizes[Math.min(queue, sizes.length - 1)] ?? 0, offered),
  );
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
