/** The control queue: commands on their way to the device and back. */
import { afterEach, describe, expect, it } from 'vitest';
import { QueueError } from '../../src/index.js';
import { COMMANDS } from '../../src/net/control/commands.js';
import { ControlQueue } from '../../src/net/control/control-queue.js';
import { PhysicalMemory } from '../support/physical-memory.js';
import { ControlDevice, OK, type ControlDeviceOptions } from './control-device.js';
import { negotiatedFeatures } from './config-device.js';
import { withCode } from './support.js';

const FEATURES = ['VIRTIO_NET_F_CTRL_VQ', 'VIRTIO_NET_F_CTRL_RX', 'VIRTIO_NET_F_CTRL_VLAN'] as const;

let device: ControlDevice | undefined;
async function start(options: Partial<ControlDeviceOptions> = {}): Promise<ControlDevice> {
  device = new ControlDevice({ features: FEATURES, ...options });
  await device.start();
  return device;
}
afterEach(() => {
  device?.session.halt();
  device?.session.reset();
  device?.session.free();
  expect(device?.memory.allocatedBytes ?? 0).toBe(0);
  device = undefined;
});

describe('the control queue', () => {
  it.each([
    [[], {}, 2],
    [['VIRTIO_NET_F_MQ'], { pairs: 4 }, 8],
    [['VIRTIO_NET_F_RSS'], { pairs: 128 }, 256],
  ] as const)('is behind all queue pairs that there could be: %j', async (extra, config, index) => {
    const { enabled, session } = await start({ features: [...FEATURES, ...extra], config });
    expect(enabled).toEqual([index]);
    expect(session.queueIndex).toBe(index);
  });

  it('is not there without its feature', async () => {
    const { enabled, control } = await start({ features: [] });
    expect(enabled).toEqual([]);
    await expect(control.addVlan(1)).rejects.toThrow(withCode('FEATURE_NOT_NEGOTIATED'));
  });

  it('is refused where the device has no such queue, with nothing left', () => {
    const overrides = { queueCount: 2 };
    expect(() => new ControlDevice({ features: FEATURES, overrides })).toThrow(
      withCode('DEVICE_QUEUE_UNAVAILABLE'),
    );
  });

  it('frames commands as the legacy interface asks for', async () => {
    const { control, framing } = await start();
    await control.addVlan(5);
    await control.setMacTable({ unicast: ['02:00:00:00:00:01'], multicast: ['01:00:5e:00:00:01'] });
    expect(framing).toEqual([
      { readable: [2, 2], writable: [1] },
      { readable: [2, 10, 10], writable: [1] },
    ]);
  });

  it('sends one command at a time, in order', async () => {
    const bench = await start();
    bench.answer = () => 'silence';
    const first = bench.control.addVlan(1);
    const second = bench.control.addVlan(2);
    await expect(first).rejects.toThrow(withCode('CONTROL_TIMEOUT'));
    await expect(second).rejects.toThrow(withCode('CONTROL_TIMEOUT'));
    // The second one never went out: the device still has the memory of the first.
    expect(bench.take()).toEqual([[2, 0, 1, 0]]);
  });

  it('waits for a device that answers later', async () => {
    const bench = await start({ timeout: 10_000, overrides: { notify: () => undefined } });
    const order: number[] = [];
    const calls = [1, 2, 3].map((id) => bench.control.addVlan(id).then(() => order.push(id)));
    const timer = setInterval(() => bench.work(), 2);
    await Promise.all(calls);
    clearInterval(timer);
    expect(order).toEqual([1, 2, 3]);
    expect(bench.take()).toEqual([1, 2, 3].map((id) => [2, 0, id, 0]));
  });

  it('names the command that the device refuses, and goes on', async () => {
    const bench = await start();
    bench.answer = () => ({ ack: 1 });
    await expect(bench.control.addVlan(7)).rejects.toThrow(withCode('CONTROL_COMMAND_REFUSED'));
    await expect(bench.control.addVlan(7)).rejects.toThrow('VIRTIO_NET_CTRL_VLAN_ADD (class 2, command 0)');
    bench.answer = () => OK;
    await bench.control.addVlan(8);
  });

  it.each([0xff, 2])('takes no other acknowledgement for a yes: %i', async (ack) => {
    const bench = await start();
    bench.answer = () => ({ ack });
    await expect(bench.control.addVlan(7)).rejects.toThrow('neither yes nor no');
  });

  it('does not take for a yes what a device left unwritten', async () => {
    const bench = await start();
    await bench.control.addVlan(7);
    bench.answer = () => 'silence';
    const notified = bench.control.addVlan(8);
    // Returned without a byte written, though the acknowledgement of the last command was a yes.
    await new Promise((resolve) => setImmediate(resolve));
    bench.ring?.return(bench.last, 0);
    await expect(notified).rejects.toThrow(withCode('CONTROL_COMMAND_REFUSED'));
  });
});

describe('a device that does not answer', () => {
  it('keeps the memory of the command until it is reset, and gets no other', async () => {
    const bench = await start();
    const before = bench.memory.allocatedBytes;
    const many = Array.from({ length: 2000 }, (_, n) => `02:00:00:00:${hex(n >> 8)}:${hex(n & 255)}`);
    bench.answer = () => 'silence';
    await expect(bench.control.setMacTable({ unicast: many })).rejects.toThrow(withCode('CONTROL_TIMEOUT'));
    const held = bench.memory.allocatedBytes - before;
    expect(held).toBeGreaterThan(12_000);
    bench.answer = () => OK;
    await expect(bench.control.addVlan(1)).rejects.toThrow('VIRTIO_NET_CTRL_MAC_TABLE_SET');
    // Its answer comes too late: nobody is to trust it any more.
    bench.ring?.return(0, 1);
    await expect(bench.control.addVlan(1)).rejects.toThrow(withCode('CONTROL_TIMEOUT'));
    expect(bench.memory.allocatedBytes - before).toBe(held);
    bench.stop();
    expect(bench.memory.allocatedBytes).toBe(before);
    await bench.start();
    await bench.control.addVlan(1);
    expect(bench.take().at(-1)).toEqual([2, 0, 1, 0]);
  });

  it('keeps nobody waiting when it is stopped', async () => {
    const bench = await start({ timeout: 1e9 });
    bench.answer = () => 'silence';
    const waiting = bench.control.addVlan(1);
    const queued = bench.control.addVlan(2);
    setImmediate(() => bench.stop());
    await expect(waiting).rejects.toThrow(withCode('DEVICE_NOT_STARTED'));
    await queued;
    // The one that had not gone out is a setting of the stopped device.
    bench.answer = () => OK;
    bench.take();
    await bench.start();
    expect(bench.take()).toEqual([[2, 0, 2, 0]]);
  });

  it('tells those who wait what the device has failed of', async () => {
    const bench = await start({ timeout: 1e9 });
    bench.answer = () => 'silence';
    const waiting = bench.control.addVlan(1);
    setImmediate(() => bench.session.halt(new QueueError('QUEUE_BROKEN', 'It broke')));
    await expect(waiting).rejects.toThrow('It broke');
  });
});

describe('a device that breaks the protocol', () => {
  it('has its control queue taken out of use', async () => {
    const bench = await start();
    bench.answer = () => 'silence';
    const broken = bench.control.addVlan(1);
    await new Promise((resolve) => setImmediate(resolve));
    bench.ring?.return(1000, 1);
    await expect(broken).rejects.toThrow(withCode('QUEUE_BROKEN'));
    await expect(bench.control.addVlan(1)).rejects.toThrow(withCode('QUEUE_BROKEN'));
  });

  it('that can not be notified fails the command', async () => {
    const bench = await start({
      overrides: {
        notify: () => {
          throw new QueueError('QUEUE_BROKEN', 'no way to notify');
        },
      },
    });
    await expect(bench.control.addVlan(1)).rejects.toThrow('no way to notify');
  });
});

describe('memory that is contiguous by page only', () => {
  it('carries commands of any length', async () => {
    const bench = await start({ memory: new PhysicalMemory() });
    const many = Array.from({ length: 1500 }, (_, n) => `02:00:00:00:${hex(n >> 8)}:${hex(n & 255)}`);
    await bench.control.setMacTable({ unicast: many });
    const [command] = bench.take();
    expect(command).toHaveLength(2 + 4 + 9000 + 4);
    expect(command.slice(-10, -4)).toEqual([2, 0, 0, 0, 1499 >> 8, 1499 & 255]);
    expect(Math.max(...bench.framing[0].readable)).toBeLessThanOrEqual(4096);
  });

  it('is not cut up for a legacy device, which is to find each part in one descriptor', async () => {
    const bench = await start({ memory: new PhysicalMemory(), overrides: { legacy: true } });
    const many = Array.from({ length: 1500 }, () => '02:00:00:00:00:01');
    await expect(bench.control.setMacTable({ unicast: many })).rejects.toThrow(
      withCode('MEMORY_NOT_CONTIGUOUS'),
    );
    await bench.control.setMacTable({ unicast: many.slice(0, 500) });
    expect(bench.framing).toEqual([{ readable: [2, 3004, 4], writable: [1] }]);
  });

  it('is refused for a command that the ring has no room for', async () => {
    const bench = await start({ memory: new PhysicalMemory() });
    const many = Array.from({ length: 50_000 }, (_, n) => `02:00:00:00:${hex(n >> 8)}:${hex(n & 255)}`);
    await expect(bench.control.setMacTable({ unicast: many })).rejects.toThrow(
      withCode('QUEUE_CHAIN_INVALID'),
    );
    await bench.control.addVlan(1);
  });
});

describe('the answer to a command', () => {
  const queueOf = (bench: ControlDevice): ControlQueue => {
    const queue = ControlQueue.create(bench.config.transport, negotiatedFeatures(), {
      index: 9,
      timeout: 20,
    });
    queue.enable();
    return queue;
  };

  it('is as much of the result as the device wrote', async () => {
    const bench = new ControlDevice({ features: [] });
    const queue = queueOf(bench);
    bench.answer = () => ({ ack: 0, result: [1, 2, 3] });
    expect(await queue.command(COMMANDS.STATS_QUERY, { resultLength: 8 })).toEqual(Uint8Array.of(1, 2, 3));
    bench.answer = () => ({ ack: 0, result: Array.from({ length: 20 }, () => 7) });
    expect(await queue.command(COMMANDS.STATS_QUERY, { resultLength: 8 })).toEqual(new Uint8Array(8).fill(7));
    bench.answer = () => OK;
    expect(await queue.command(COMMANDS.STATS_QUERY, { resultLength: 8 })).toHaveLength(0);
    queue.reset();
    queue.free();
    expect(bench.memory.allocatedBytes).toBe(0);
  });

  it('holds all that the device fills in, in front of the acknowledgement', async () => {
    const bench = new ControlDevice({ features: [] });
    const queue = queueOf(bench);
    bench.answer = () => ({ ack: 0, filled: [1, 2, 3, 4] });
    const body = { data: [Uint8Array.of(9)], filledLength: 4 };
    expect(await queue.command(COMMANDS.NOTF_COAL_VQ_GET, body)).toEqual(Uint8Array.of(1, 2, 3, 4));
    queue.reset();
    queue.free();
  });
});

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}
