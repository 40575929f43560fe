import { UsageError } from '../errors.js';
import type { Logger } from '../log.js';
import {
  checkInteger,
  describe,
  LONGEST_TIMEOUT,
  requireBoolean,
  requireFields,
  requireSignal,
} from './arguments.js';
import { checkFeatureWishes, type FeatureWishes } from './features.js';
import { checkConflicts } from './option-conflicts.js';
import {
  checkVhostUserOptions,
  type VhostUserOptions,
  type VhostUserSettings,
} from './vhost-user-options.js';

export type Recovery = 'manual' | 'automatic';
export type Addressing = 'auto' | 'iova' | 'physical';
export type HugePages = 'auto' | 'never' | '2M' | '1G';
export type PciInterface = 'auto' | 'modern' | 'legacy';
export type InterruptMode = 'auto' | 'msix' | 'intx';

/** How to open a device. All fields are optional. */
export interface NetDeviceOptions {
  /** Features that must be negotiated, and such that must not. */
  readonly features?: FeatureWishes;
  /**
   * Wait for interrupts (the default), or have the program call `receive()`, `transmit()` or `poll()`:
   * with false the device is asked for no interrupts at all.
   */
  readonly interrupts?: boolean;
  /**
   * Number of descriptors in the receive and transmit rings, from 2 to what the device has; a power of two unless
   * VIRTIO_F_RING_PACKED is negotiated. By default what the device offers, at most 256.
   */
  readonly queueSize?: number;
  /**
   * Number of packet buffers of each queue pair. By default four times the size of a ring, so that both can be full
   * twice over.
   */
  readonly poolSize?: number;
  /**
   * Length of each packet buffer in bytes, 64 of them headroom; by default what the longest frame needs. It may be less
   * only with VIRTIO_NET_F_MRG_RXBUF, and more for packets that the device is to cut into several frames.
   */
  readonly bufferSize?: number;
  /**
   * Number of queue pairs to open, 1 by default, up to what the device has. How many of them are used can be changed
   * while the device runs, see `setQueuePairs()`.
   */
  readonly queuePairs?: number;
  /** Received frames that are handed on before the event loop gets a turn, 64 by default. */
  readonly budget?: number;
  /** Milliseconds to wait for the device to finish a reset, 5000 by default. */
  readonly resetTimeout?: number;
  /** Milliseconds that `stop()` waits for frames to leave which the device has not sent yet, 1000 by default. */
  readonly drainTimeout?: number;
  /** Milliseconds to wait for the device to answer a command on its control queue, 1000 by default. */
  readonly controlTimeout?: number;
  /**
   * What happens when the device fails: with `manual` (the default) it is out of use until `reset()`, or `stop()` and
   * `start()`; with `automatic` the driver resets it and goes on by itself.
   */
  readonly recovery?: Recovery;
  /**
   * Which addresses the device is given: those of the IOMMU, or physical ones. `auto` (the default) follows what the
   * device says of itself.
   */
  readonly addressing?: Addressing;
  /**
   * Pages that packet buffers lie in; `auto` (the default) takes huge ones where they are of use. With `2M` and `1G`
   * those of each queue pair take whole pages of that size. Behind an IOMMU there is room for three pages of 1 GiB.
   */
  readonly hugePages?: HugePages;
  /** Through which of its interfaces to drive a card that has both; `auto` (the default) prefers the modern one. */
  readonly pciInterface?: PciInterface;
  /** How a card interrupts; `auto` (the default) prefers MSI-X. */
  readonly interruptMode?: InterruptMode;
  /** Most MSI-X vectors to use; by default one for each queue and one for the configuration. */
  readonly maxVectors?: number;
  /** Take a card over from the kernel's driver even while its network interface is up. */
  readonly takeOver?: boolean;
  /** What concerns a device behind a vhost-user socket only. */
  readonly vhostUser?: VhostUserOptions;
  /** Where to log; silent by default, unless the environment variable VIRTIO_NET_LOG names a level. */
  readonly logger?: Logger;
  /** Aborts the opening. */
  readonly signal?: AbortSignal;
}

/** The options with the defaults filled in. */
export interface Settings {
  readonly features: FeatureWishes;
  readonly interrupts: boolean;
  readonly queueSize: number | undefined;
  readonly poolSize: number | undefined;
  readonly bufferSize: number | undefined;
  readonly queuePairs: number;
  readonly budget: number;
  readonly resetTimeout: number;
  readonly drainTimeout: number;
  readonly controlTimeout: number;
  readonly recovery: Recovery;
  readonly addressing: Addressing;
  readonly hugePages: HugePages;
  readonly pciInterface: PciInterface;
  readonly interruptMode: InterruptMode;
  readonly maxVectors: number | undefined;
  readonly takeOver: boolean;
  readonly vhostUser: VhostUserSettings | undefined;
  readonly logger: Logger | undefined;
  readonly signal: AbortSignal | undefined;
}

/** Packets of a ring that `poolSize` may not be below: else a ring could take all of them. */
const LARGEST_RING = 32768;
const LARGEST_POOL = 1 << 20;
/** The headers of a frame fit even with all that a header may hold. */
const SMALLEST_BUFFER = 256;
const LARGEST_BUFFER = 1 << 17;
/** The most that a device can have (VIRTIO 1.3, 5.1.6.5.5). */
const MOST_QUEUE_PAIRS = 32768;
const MOST_VECTORS = 2048;

const LOG_METHODS = ['debug', 'info', 'warn', 'error'] as const satisfies (keyof Logger)[];

const NAMES: readonly string[] = [
  'features',
  'interrupts',
  'queueSize',
  'poolSize',
  'bufferSize',
  'queuePairs',
  'budget',
  'resetTimeout',
  'drainTimeout',
  'controlTimeout',
  'recovery',
  'addressing',
  'hugePages',
  'pciInterface',
  'interruptMode',
  'maxVectors',
  'takeOver',
  'vhostUser',
  'logger',
  'signal',
] satisfies (keyof NetDeviceOptions)[];

/**
 * Checks the options and fills the defaults in.
 *
 * @throws UsageError OPTION_INVALID
 */
export function checkOptions(options: NetDeviceOptions): Settings {
  requireFields('The group of options', options, NAMES);
  const { features = {}, queueSize, poolSize, bufferSize, maxVectors } = options;
  checkFeatureWishes(features);
  // Whether it must be a power of two depends on the ring format, which is known only after the negotiation.
  if (queueSize !== undefined) checkInteger('queueSize', queueSize, 2, LARGEST_RING);
  if (poolSize !== undefined) checkInteger('poolSize', poolSize, 2, LARGEST_POOL);
  if (bufferSize !== undefined) checkInteger('bufferSize', bufferSize, SMALLEST_BUFFER, LARGEST_BUFFER);
  if (maxVectors !== undefined) checkInteger('maxVectors', maxVectors, 1, MOST_VECTORS);
  const { interrupts = true, takeOver = false, logger, signal } = options;
  requireBoolean('interrupts', interrupts);
  requireBoolean('takeOver', takeOver);
  checkLogger(logger);
  requireSignal(signal);
  const settings: Settings = {
    features,
    interrupts,
    queueSize,
    poolSize,
    bufferSize,
    queuePairs: checkInteger('queuePairs', options.queuePairs ?? 1, 1, MOST_QUEUE_PAIRS),
    budget: checkInteger('budget', options.budget ?? 64, 1, LARGEST_RING),
    resetTimeout: checkInteger('resetTimeout', options.resetTimeout ?? 5000, 0, LONGEST_TIMEOUT),
    drainTimeout: checkInteger('drainTimeout', options.drainTimeout ?? 1000, 0, LONGEST_TIMEOUT),
    controlTimeout: checkInteger('controlTimeout', options.controlTimeout ?? 1000, 1, LONGEST_TIMEOUT),
    recovery: checkChoice('recovery', options.recovery ?? 'manual', ['manual', 'automatic']),
    addressing: checkChoice('addressing', options.addressing ?? 'auto', ['auto', 'iova', 'physical']),
    hugePages: checkChoice('hugePages', options.hugePages ?? 'auto', ['auto', 'never', '2M', '1G']),
    pciInterface: checkChoice('pciInterface', options.pciInterface ?? 'auto', ['auto', 'modern', 'legacy']),
    interruptMode: checkChoice('interruptMode', options.interruptMode ?? 'auto', ['auto', 'msix', 'intx']),
    maxVectors,
    takeOver,
    vhostUser: options.vhostUser === undefined ? undefined : checkVhostUserOptions(options.vhostUser),
    logger,
    signal,
  };
  checkConflicts(settings);
  return settings;
}

function checkChoice<Choice extends string>(
  name: string,
  value: Choice,
  choices: readonly NoInfer<Choice>[],
): Choice {
  if (choices.includes(value)) return value;
  throw invalid(`${name} is ${describe(value)}`, `Give one of ${choices.join(', ')}.`);
}

/** One that lacks a method would fail somewhere on the way, with the device taken over. */
function checkLogger(logger: Partial<Logger> | null | undefined): void {
  if (logger === undefined) return;
  const lacking = LOG_METHODS.filter((name) => typeof logger?.[name] !== 'function');
  if (lacking.length === 0) return;
  throw invalid(
    `logger is ${describe(logger)} without ${lacking.join(', ')}`,
    `Give a pino logger, or an object with the methods ${LOG_METHODS.join(', ')}.`,
  );
}

function invalid(what: string, remedy: string): UsageError {
  return new UsageError('OPTION_INVALID', what, { remedy });
}
