/** A software device whose used rings a test can spoil, as a device gone mad would. */
import { expect } from 'vitest';
import { NetDevice, type DmaRegion, type NetDeviceOptions, type Transport } from '../../src/index.js';
import type { QueueLayout } from '../../src/transport/transport.js';
import type { SimulatedDevice, SimulatedDeviceOptions } from '../../src/sim/index.js';
import { createSimulatedDevice } from './support.js';

export interface Breakable {
  readonly sim: SimulatedDevice;
  readonly device: NetDevice;
  /** Makes the used ring of the queue say what can not be, and interrupts. To be called before it was used. */
  readonly spoil: (queue: number) => void;
  /** Closes the device and checks that nothing is left. */
  readonly finish: () => Promise<void>;
}

/** Opens and starts a device whose rings can be spoilt. */
export async function startBreakable(
  options: NetDeviceOptions = {},
  simOptions: SimulatedDeviceOptions = {},
  wrap: (transport: Transport) => Transport = (transport) => transport,
): Promise<Breakable> {
  const sim = createSimulatedDevice({ host: null, ...simOptions });
  const rings = new Rings(sim.transport);
  const device = await NetDevice.open(wrap(rings.transport), options);
  await device.start();
  return {
    sim,
    device,
    spoil: (queue) => {
      rings.spoil(queue, device.features.has('VIRTIO_F_RING_PACKED'));
    },
    finish: async () => {
      await device[Symbol.asyncDispose]();
      expect(sim.memory.allocatedBytes).toBe(0);
      expect(sim.openCount).toBe(0);
    },
  };
}

class Rings {
  readonly transport: Transport;
  private readonly regions: DmaRegion[] = [];
  private readonly layouts = new Map<number, QueueLayout>();
  private handlers: Parameters<Transport['enableInterrupts']>[1] | undefined;

  constructor(inner: Transport) {
    const memory = intercept(inner.memory, {
      allocate: (region) => this.regions.push(region as DmaRegion),
    });
    const spied = intercept(inner, {
      enableQueue: (_, queue, layout) => this.layouts.set(queue as number, layout as QueueLayout),
      enableInterrupts: (_, __, handlers) => (this.handlers = handlers as typeof this.handlers),
    });
    this.transport = new Proxy(spied, {
      get: (target, name) => (name === 'memory' ? memory : (Reflect.get(target, name) as unknown)),
    });
  }

  spoil(queue: number, packed: boolean): void {
    const layout = this.layouts.get(queue);
    if (layout === undefined) throw new Error(`queue ${queue} was never enabled`);
    const { lo } = packed ? layout.descriptorArea : layout.deviceArea;
    const region = this.regions.find((candidate) => {
      const start = candidate.addressOf(0).lo;
      return lo >= start && lo < start + candidate.size;
    });
    if (region === undefined) throw new Error('no such ring');
    const view = new DataView(region.buffer, lo - region.addressOf(0).lo);
    if (packed) {
      view.setUint16(12, 5000, true);
      view.setUint16(14, 0x8080, true);
    } else {
      view.setUint16(2, 9999, true);
    }
    this.handlers?.queue(queue);
  }
}

/** The same object, but that some of its methods are looked at after they were called: their result and arguments. */
function intercept<T extends object>(
  target: T,
  looks: Record<string, (result: unknown, ...values: unknown[]) => unknown>,
): T {
  return new Proxy(target, {
    get(inner, name) {
      const value: unknown = Reflect.get(inner, name);
      if (typeof value !== 'function') return value;
      const call = value as (...values: unknown[]) => unknown;
      const look = Object.hasOwn(looks, name) ? looks[name as string] : undefined;
      return (...values: unknown[]): unknown => {
        const result = Reflect.apply(call, inner, values);
        look?.(result, ...values);
        return result;
      };
    },
  });
}
