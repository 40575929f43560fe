import { UsageError } from '../errors.js';
import type { Logger } from '../log.js';
import { checkFeatureWishes, type FeatureWishes } from './features.js';

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
  /** Number of packet buffers. By default four times the size of a ring, so that both can be full twice over. */
  readonly poolSize?: number;
  /** Received frames that are handed on before the event loop gets a turn, 64 by default. */
  readonly budget?: number;
  /** Milliseconds to wait for the device to finish a reset, 5000 by default. */
  readonly resetTimeout?: number;
  /** Milliseconds that `stop()` waits for frames to leave which the device has not sent yet, 1000 by default. */
  readonly drainTimeout?: number;
  /** Take a card over from the kernel's driver even while its network interface is up. */
  readonly takeOver?: boolean;
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
  readonly budget: number;
  readonly resetTimeout: number;
  readonly drainTimeout: number;
  readonly takeOver: boolean;
  readonly logger: Logger | undefined;
  readonly signal: AbortSignal | undefined;
}

/** Packets of a ring that `poolSize` may not be below: else a ring could take all of them. */
const LARGEST_RING = 32768;
const LARGEST_POOL = 1 << 20;
const LONGEST_TIMEOUT = 2 ** 31 - 1;

const NAMES = new Set<string>([
  'features',
  'interrupts',
  'queueSize',
  'poolSize',
  'budget',
  'resetTimeout',
  'drainTimeout',
  'takeOver',
  'logger',
  'signal',
] satisfies (keyof NetDeviceOptions)[]);

/**
 * Checks the options and fills the defaults in.
 *
 * @throws UsageError OPTION_INVALID
 */
export function checkOptions(options: NetDeviceOptions): Settings {
  const unknown = Object.keys(options).filter((name) => !NAMES.has(name));
  if (unknown.length > 0) {
    throw invalid(`There is no option ${unknown.join(', ')}`, `The options are ${[...NAMES].join(', ')}.`);
  }
  const { features = {}, queueSize, poolSize } = options;
  checkFeatureWishes(features);
  // Whether it must be a power of two depends on the ring format, which is known only after the negotiation.
  if (queueSize !== undefined) checkInteger('queueSize', queueSize, 2, LARGEST_RING);
  if (poolSize !== undefined) checkInteger('poolSize', poolSize, 2, LARGEST_POOL);
  return {
    features,
    interrupts: options.interrupts ?? true,
    queueSize,
    poolSize,
    budget: checkInteger('budget', options.budget ?? 64, 1, LARGEST_RING),
    resetTimeout: checkInteger('resetTimeout', options.resetTimeout ?? 5000, 0, LONGEST_TIMEOUT),
    drainTimeout: checkInteger('drainTimeout', options.drainTimeout ?? 1000, 0, LONGEST_TIMEOUT),
    takeOver: options.takeOver ?? false,
    logger: options.logger,
    signal: options.signal,
  };
}

function checkInteger(name: string, value: number, least: number, most: number): number {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw invalid(`${name} is ${String(value)}`, `Give a whole number from ${least} to ${most}.`);
  }
  return value;
}

function invalid(what: string, remedy: string): UsageError {
  return new UsageError('OPTION_INVALID', what, { remedy });
}
