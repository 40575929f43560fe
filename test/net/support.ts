/** What the tests of the whole driver share: an open device with the software device behind it. */
import { expect } from 'vitest';
import { NetDevice, type NetDeviceOptions, type Transport } from '../../src/index.js';
import {
  createSimulatedDevice as createAnySimulatedDevice,
  type SimulatedDevice,
  type SimulatedDeviceOptions,
} from '../../src/sim/index.js';
import { featureBits } from '../../src/sim/features.js';

const RING_PACKED = 1n << 34n;

const IN_ORDER = 1n << 35n;
const ORDER_PLATFORM = 1n << 36n;
const NOTIFICATION_DATA = 1n << 38n;

/**
 * The rings that the tests of this file run on; packed.test.ts has all of them run again on packed ones, and the files
 * in-order-*.test.ts where buffers come back in order, by the batch, and notifications carry positions.
 */
export const rings: { format: 'split' | 'packed'; inOrder: boolean } = { format: 'split', inOrder: false };

/** A software device that offers the ring format of the tests, whatever its other features. */
export function createSimulatedDevice(options: SimulatedDeviceOptions = {}): SimulatedDevice {
  const added =
    (rings.format === 'packed' ? RING_PACKED : 0n) |
    (rings.inOrder ? IN_ORDER | ORDER_PLATFORM | NOTIFICATION_DATA : 0n);
  if (added === 0n) return createAnySimulatedDevice(options);
  return createAnySimulatedDevice({ ...options, features: featureBits(options.features) | added });
}

export interface Bench {
  readonly sim: SimulatedDevice;
  readonly device: NetDevice;
  /** Closes the device and checks that nothing is left, and that the driver broke no rule. */
  readonly finish: () => Promise<void>;
}

/** Opens and starts a device; the software device watches every buffer that it owns. */
export async function startBench(
  simOptions: SimulatedDeviceOptions = {},
  options: NetDeviceOptions = {},
): Promise<Bench> {
  const bench = await openBench(simOptions, options);
  await bench.device.start();
  return bench;
}

export async function openBench(
  simOptions: SimulatedDeviceOptions = {},
  options: NetDeviceOptions = {},
): Promise<Bench> {
  const sim = createSimulatedDevice({ isolation: true, host: null, ...simOptions });
  const device = await NetDevice.open(sim.transport, options);
  const finish = async (): Promise<void> => {
    await device[Symbol.asyncDispose]();
    expectNothingLeft(sim);
  };
  return { sim, device, finish };
}

export function expectNothingLeft(sim: SimulatedDevice): void {
  expect(sim.violations).toEqual([]);
  expect(sim.memory.allocatedBytes).toBe(0);
  expect(sim.openCount).toBe(0);
}

/**
 * Has the receive ring filled up, as it is where frames go to listeners: a polled `receive()` leaves that for later. What is
 * in the pool then is all that is not posted. To be called when no frame is under way.
 */
export function refillAll(device: NetDevice): void {
  const listener = (): void => undefined;
  device.on('frame', listener);
  expect(device.poll()).toBe(0);
  device.off('frame', listener);
}

/** A transport that behaves like another one, but for what is given. */
export function overriding(transport: Transport, overrides: Partial<Transport>): Transport {
  return new Proxy(transport, {
    get(target, name) {
      const value: unknown = Reflect.get(Object.hasOwn(overrides, name) ? overrides : target, name);
      return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
    },
  });
}

/** An Ethernet frame of the given length, 14 bytes or more, whose content tells its number. */
export function numberedFrame(number: number, length = 60): Uint8Array {
  const frame = Uint8Array.from({ length }, (_, index) => (index * 7 + number) & 0xff);
  frame.set([0x52, 0x54, 0, 0x12, 0x34, 0x56, 0x52, 0x54, 0, 0, 0, 1, 0x88, 0xb5]);
  const digits = [(number >> 24) & 0xff, (number >> 16) & 0xff, (number >> 8) & 0xff, number & 0xff];
  frame.set(digits.slice(0, length - 14), 14);
  return frame;
}

/** Lets the event loop turn until the condition holds. */
export async function eventually(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 10_000; turn += 1) {
    if (condition()) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error('what was waited for did not happen');
}

/** What `toMatchObject` compares an error with. */
export function withCode(code: string): { code: string; remedy: string } {
  return expect.objectContaining({ code, remedy: expect.stringMatching(/\S/) as string }) as {
    code: string;
    remedy: string;
  };
}
