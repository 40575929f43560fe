import { afterEach, describe, expect, it } from 'vitest';
import { NetDevice, type NetDeviceOptions, type PacketBuffer, type Transport } from '../../src/index.js';
import type { QueueLayout } from '../../src/transport/transport.js';
import {
  createSimulatedDevice,
  eventually,
  numberedFrame,
  openBench,
  overriding,
  startBench,
  withCode,
  type Bench,
} from './support.js';

let bench: Bench | undefined;
async function start(options: NetDeviceOptions = {}): Promise<Bench> {
  bench = await startBench({}, options);
  return bench;
}
afterEach(async () => {
  await bench?.finish();
  bench = undefined;
});

describe('the link', () => {
  // Proves: net/device-configuration-layout/5
  it('is told with an event, by interrupt', async () => {
    const { sim, device } = await start();
    const seen: boolean[] = [];
    device.on('link', (up) => seen.push(up));
    sim.setLink(false);
    await eventually(() => seen.length === 1);
    expect(device.linkUp).toBe(false);
    sim.setLink(true);
    await eventually(() => seen.length === 2);
    expect(seen).toEqual([false, true]);
    expect(device.statistics().interrupts.config).toBe(2);
  });

  it('is told with an event, by polling', async () => {
    const { sim, device } = await start({ interrupts: false });
    const seen: boolean[] = [];
    device.on('link', (up) => seen.push(up));
    sim.setLink(false);
    while (seen.length === 0) device.poll();
    expect(seen).toEqual([false]);
    expect(device.linkUp).toBe(false);
  });

  it.each(['first', 'second'])('is told when it changed before the %s start()', async (which) => {
    const { sim, device, finish } = await openBench();
    const told: boolean[] = [];
    device.on('link', (up) => told.push(up));
    if (which === 'second') {
      await device.start();
      await device.stop();
    }
    sim.setLink(false);
    await device.start();
    expect(device.linkUp).toBe(false);
    expect(told).toEqual([false]);
    await finish();
  });

  it('is read anew by start()', async () => {
    const { sim, device } = await start();
    await device.stop();
    sim.setLink(false);
    await device.start();
    expect(device.linkUp).toBe(false);
  });
});

/** A used ring as a device would write it first (VIRTIO 1.3, 2.7.8). */
function writeSplitUsed(view: DataView, used: readonly [number, number][], index: number): void {
  for (const [at, [id, length]] of used.entries()) {
    view.setUint32(4 + 8 * at, id, true);
    view.setUint32(8 + 8 * at, length, true);
  }
  view.setUint16(2, index, true);
}

/** Used descriptors in the first lap of a packed ring (2.8.1). */
function writePackedUsed(view: DataView, used: readonly [number, number][]): void {
  for (const [at, [id, length]] of used.entries()) {
    view.setUint32(16 * at + 8, length, true);
    view.setUint16(16 * at + 12, id, true);
    view.setUint16(16 * at + 14, 0x8080, true);
  }
}

describe('a device that fails', () => {
  // Proves: core/device-status-field/4
  it('is taken out of use when it asks for a reset, and comes back with stop and start', async () => {
    const { sim, device } = await start();
    const errors: Error[] = [];
    device.on('error', (error) => errors.push(error));
    const frames = device.frames();
    const iteration = frames.next();
    sim.needsReset();
    await expect(iteration).rejects.toThrow(withCode('DEVICE_NEEDS_RESET'));
    expect(errors).toMatchObject([{ code: 'DEVICE_NEEDS_RESET' }]);
    expect(device.state).toBe('failed');
    expect(() => device.receive([])).toThrow(withCode('DEVICE_NEEDS_RESET'));
    expect(() => device.transmit([])).toThrow(withCode('DEVICE_NEEDS_RESET'));
    await expect(device.send(numberedFrame(1))).rejects.toThrow(withCode('DEVICE_NEEDS_RESET'));
    await device.stop();
    await device.start();
    await device.send(numberedFrame(1));
    sim.inject(numberedFrame(2));
    const batch: PacketBuffer[] = [];
    expect(device.receive(batch)).toBe(1);
    batch[0].release();
  });

  it('does not crash a program that does not listen', async () => {
    const { sim, device } = await start();
    sim.needsReset();
    await eventually(() => device.state === 'failed');
    expect(() => device.poll()).toThrow(withCode('DEVICE_NEEDS_RESET'));
  });

  it('is noticed by polling', async () => {
    const { sim, device } = await start({ interrupts: false });
    sim.needsReset();
    expect(() => {
      while (true) device.poll();
    }).toThrow(withCode('DEVICE_NEEDS_RESET'));
    expect(device.state).toBe('failed');
  });

  /** Opens a device whose rings the test can write to, as a device gone mad would. */
  async function openMad(options: NetDeviceOptions = {}): Promise<{
    device: NetDevice;
    /** Returns buffers, whatever the driver gave the device; on a split ring, up to any index. */
    mad: (queue: number, used: readonly [id: number, length: number][], index?: number) => void;
    interrupt: (queue: number) => void;
    finish: () => Promise<void>;
  }> {
    const sim = createSimulatedDevice({ host: null });
    const { transport } = sim;
    const buffers: { start: number; buffer: ArrayBufferLike }[] = [];
    const layouts: QueueLayout[] = [];
    let handlers: Parameters<Transport['enableInterrupts']>[1] | undefined;
    const memory = {
      behindIommu: true,
      addressing: 'iova' as const,
      setAddressing: () => undefined,
      allocatedBytes: 0,
      allocate: (size: number) => {
        const region = transport.memory.allocate(size);
        buffers.push({ start: region.addressOf(0).lo, buffer: region.buffer });
        return region;
      },
    };
    const mad = overriding(transport, {
      memory,
      enableQueue: (queue, layout) => {
        layouts[queue] = layout;
        transport.enableQueue(queue, layout);
      },
      notify: () => undefined,
      enableInterrupts: (queues, wanted) => {
        handlers = wanted;
        transport.enableInterrupts(queues, wanted);
      },
    });
    const device = await NetDevice.open(mad, options);
    await device.start();
    return {
      device,
      mad: (queue, used, index = used.length) => {
        const packed = device.features.has('VIRTIO_F_RING_PACKED');
        const { lo } = layouts[queue][packed ? 'descriptorArea' : 'deviceArea'];
        const region = buffers.find(({ start, buffer }) => lo >= start && lo < start + buffer.byteLength);
        if (region === undefined) throw new Error('no such ring');
        const view = new DataView(region.buffer, lo - region.start);
        if (packed) writePackedUsed(view, used);
        else writeSplitUsed(view, used, index);
      },
      interrupt: (queue) => handlers?.queue(queue),
      finish: async () => {
        await device.close();
        expect(sim.memory.allocatedBytes).toBe(0);
      },
    };
  }

  it('breaks the receive queue, not the program: by interrupt', async () => {
    const { device, mad, interrupt, finish } = await openMad();
    const errors: Error[] = [];
    device.on('error', (error) => errors.push(error));
    device.on('frame', () => undefined);
    mad(0, [[999, 60]]);
    interrupt(0);
    await eventually(() => errors.length > 0);
    expect(errors).toMatchObject([{ code: 'QUEUE_BROKEN' }]);
    expect(device.state).toBe('failed');
    await device.stop();
    const { pool } = device.statistics();
    expect(pool.available).toBe(pool.size);
    await device.start();
    await finish();
  });

  it('breaks the receive queue, not the program: by receive()', async () => {
    const { device, mad, finish } = await openMad({ interrupts: false });
    mad(0, [[0, 99_999]]);
    expect(() => device.receive([])).toThrow(withCode('QUEUE_BROKEN'));
    expect(device.state).toBe('failed');
    await finish();
  });

  it('breaks a split queue, not the program, with an index that jumps', async () => {
    const options = { interrupts: false, features: { unwanted: ['VIRTIO_F_RING_PACKED'] as const } };
    const { device, mad, finish } = await openMad(options);
    mad(0, [], 999);
    expect(() => device.receive([])).toThrow(withCode('QUEUE_BROKEN'));
    await finish();
  });

  it('hands on what came before the queue broke', async () => {
    const { device, mad, finish } = await openMad({ interrupts: false });
    mad(0, [
      [0, 72],
      [5000, 0],
    ]);
    const batch: PacketBuffer[] = [];
    expect(device.receive(batch)).toBe(1);
    expect(batch[0].length).toBe(60);
    batch[0].release();
    expect(() => device.receive(batch)).toThrow(withCode('QUEUE_BROKEN'));
    await finish();
  });

  it('drops what is too short to hold a header and a frame', async () => {
    const { device, mad, finish } = await openMad({ interrupts: false });
    mad(0, [
      [0, 0],
      [1, 25],
      [2, 26],
    ]);
    const batch: PacketBuffer[] = [];
    expect(device.receive(batch)).toBe(1);
    expect(batch[0].length).toBe(14);
    batch[0].release();
    expect(device.statistics().receive.drops.short).toBe(2);
    await finish();
  });

  it('breaks the transmit queue, not the program', async () => {
    const { device, mad, interrupt, finish } = await openMad();
    await device.send(numberedFrame(1));
    const flushing = device.flush();
    mad(1, [[77, 0]]);
    interrupt(1);
    await expect(flushing).rejects.toThrow(withCode('QUEUE_BROKEN'));
    await expect(device.send(numberedFrame(1))).rejects.toThrow(withCode('QUEUE_BROKEN'));
    await device.stop();
    const { pool } = device.statistics();
    expect(pool.available).toBe(pool.size);
    await finish();
  });

  it('that breaks the transmit queue and does not interrupt keeps no send() waiting', async () => {
    const { device, mad, finish } = await openMad();
    await device.send(numberedFrame(1));
    mad(1, [[2, 100]]);
    const packet = device.allocate().setFrame(numberedFrame(2));
    await expect(device.send(packet)).rejects.toThrow(withCode('QUEUE_BROKEN'));
    expect(device.state).toBe('failed');
    packet.release();
    await finish();
  });

  // Proves: split/used-buffer-notification-suppression/5
  it('may interrupt for nothing', async () => {
    const { device, interrupt, finish } = await openMad();
    for (let n = 0; n < 10; n += 1) {
      interrupt(0);
      interrupt(1);
    }
    expect(device.statistics().interrupts).toMatchObject({ receive: 0, transmit: 0, spurious: 20 });
    expect(device.state).toBe('running');
    await finish();
  });

  it('is taken out of use when reaching it throws', async () => {
    const sim = createSimulatedDevice();
    const { transport } = sim;
    let gone = false;
    const vanishing = overriding(transport, {
      readConfigGeneration: () => {
        if (gone) throw new Error('gone');
        return transport.readConfigGeneration();
      },
    });
    const device = await NetDevice.open(vanishing);
    await device.start();
    gone = true;
    sim.setLink(false);
    await eventually(() => device.state === 'failed');
    expect(() => device.poll()).toThrow('gone');
    await device.close();
    expect(sim.memory.allocatedBytes).toBe(0);
  });
});

describe('ref() and unref()', () => {
  it('reach the transport', async () => {
    const kept: boolean[] = [];
    const spied = overriding(createSimulatedDevice().transport, { setKeepAlive: (keep) => kept.push(keep) });
    const device = await NetDevice.open(spied);
    expect(device.unref().ref()).toBe(device);
    expect(kept).toEqual([false, true]);
    await device.close();
  });
});
