/** The settings of a card, by the whole driver on the software device: the device acts on them. */
import { describe, expect, it } from 'vitest';
import { NetDevice, type NetDeviceOptions, type PacketBuffer } from '../../src/index.js';
import {
  createSimulatedDevice,
  type SimulatedDeviceOptions,
  type SimulatedFeature,
} from '../../src/sim/index.js';
import { eventually, expectNothingLeft, numberedFrame, withCode, type Bench } from './support.js';

const PLAIN: readonly SimulatedFeature[] = [
  'VIRTIO_F_VERSION_1',
  'VIRTIO_F_ACCESS_PLATFORM',
  'VIRTIO_F_RING_EVENT_IDX',
  'VIRTIO_NET_F_MAC',
  'VIRTIO_NET_F_STATUS',
  'VIRTIO_NET_F_MTU',
];
const CONTROL: readonly SimulatedFeature[] = [
  ...PLAIN,
  'VIRTIO_NET_F_CTRL_VQ',
  'VIRTIO_NET_F_CTRL_RX',
  'VIRTIO_NET_F_CTRL_RX_EXTRA',
  'VIRTIO_NET_F_CTRL_VLAN',
  'VIRTIO_NET_F_CTRL_MAC_ADDR',
  'VIRTIO_NET_F_GUEST_ANNOUNCE',
  'VIRTIO_NET_F_SPEED_DUPLEX',
  'VIRTIO_NET_F_MQ',
  'VIRTIO_NET_F_NOTF_COAL',
  'VIRTIO_NET_F_VQ_NOTF_COAL',
  'VIRTIO_NET_F_DEVICE_STATS',
];
const VLAN: NetDeviceOptions = { features: { extra: ['VIRTIO_NET_F_CTRL_VLAN'] } };
const OTHER = [0x52, 0x54, 0, 0xee, 0xee, 0xee];
const GROUP = [0x01, 0, 0x5e, 0, 0, 0x01];

async function withDevice(
  simOptions: SimulatedDeviceOptions,
  options: NetDeviceOptions,
  test: (bench: Omit<Bench, 'finish'>) => Promise<void>,
): Promise<void> {
  const sim = createSimulatedDevice({ isolation: true, host: null, features: CONTROL, ...simOptions });
  const device = await NetDevice.open(sim.transport, options);
  try {
    await device.start();
    await test({ sim, device });
  } finally {
    await device[Symbol.asyncDispose]();
  }
  expectNothingLeft(sim);
}

/** Which of the frames arrive, by their numbers. */
function arriving({ sim, device }: Omit<Bench, 'finish'>, frames: readonly Uint8Array[]): number[] {
  for (const frame of frames) sim.inject(frame);
  const batch: PacketBuffer[] = [];
  const count = device.receive(batch, 64);
  return batch.slice(0, count).map((packet) => {
    const arrived = frames.findIndex((frame) => Buffer.compare(frame, packet.frame) === 0);
    packet.release();
    return arrived;
  });
}

function frameTo(destination: readonly number[], vlan?: number): Uint8Array {
  const frame = numberedFrame(7);
  frame.set(destination);
  if (vlan !== undefined) frame.set([0x81, 0, vlan >> 8, vlan & 0xff], 12);
  return frame;
}
const FRAMES = [
  frameTo([0x52, 0x54, 0, 0x12, 0x34, 0x56]),
  frameTo(OTHER),
  frameTo(GROUP),
  frameTo([255, 255, 255, 255, 255, 255]),
];

describe.each([
  ['split', []],
  ['packed', ['VIRTIO_F_RING_PACKED']],
  ['split in order', ['VIRTIO_F_IN_ORDER', 'VIRTIO_F_RING_INDIRECT_DESC']],
] as const)('a card with a control queue on %s rings', (_, extra) => {
  const features = [...CONTROL, ...extra];

  it('receives what the receive modes and the table of addresses let in', async () => {
    await withDevice({ features }, {}, async (bench) => {
      const { control } = bench.device;
      expect(arriving(bench, FRAMES)).toEqual([0, 3]);
      await control.setReceiveMode({ promiscuous: true });
      expect(arriving(bench, FRAMES)).toEqual([0, 1, 2, 3]);
      await control.setReceiveMode({ promiscuous: false, allMulticast: true, noBroadcast: true });
      expect(arriving(bench, FRAMES)).toEqual([0, 2]);
      await control.setReceiveMode({ allMulticast: false, noBroadcast: false });
      await control.setMacTable({ unicast: [Uint8Array.from(OTHER)] });
      expect(arriving(bench, FRAMES)).toEqual([0, 1, 3]);
      await control.setMacTable({ multicast: [Uint8Array.from(GROUP)] });
      expect(arriving(bench, FRAMES)).toEqual([0, 2, 3]);
    });
  });

  it('receives what comes to the address that it was given, before and after a reset', async () => {
    await withDevice({ features }, {}, async (bench) => {
      await bench.device.control.setMac(Uint8Array.from(OTHER));
      expect(bench.device.mac).toBe('52:54:00:ee:ee:ee');
      expect(arriving(bench, FRAMES)).toEqual([1, 3]);
      expect(await bench.device.reset()).toMatchObject({ lostSettings: [] });
      expect(arriving(bench, FRAMES)).toEqual([1, 3]);
      await bench.device.stop();
      await bench.device.start();
      expect(arriving(bench, FRAMES)).toEqual([1, 3]);
    });
  });

  it('receives the VLANs that it was given, if the program asked for the filter', async () => {
    const [mac] = [[0x52, 0x54, 0, 0x12, 0x34, 0x56]];
    const tagged = [frameTo(mac, 5), frameTo(mac, 6), frameTo(mac)];
    await withDevice({ features }, {}, async (bench) => {
      expect(arriving(bench, tagged)).toEqual([0, 1, 2]);
      await expect(bench.device.control.addVlan(5)).rejects.toThrow(withCode('FEATURE_NOT_NEGOTIATED'));
    });
    await withDevice({ features }, VLAN, async (bench) => {
      expect(arriving(bench, tagged)).toEqual([2]);
      await bench.device.control.addVlan(5);
      await bench.device.control.addVlan(6);
      await bench.device.control.removeVlan(6);
      expect(arriving(bench, tagged)).toEqual([0, 2]);
      await bench.device.reset();
      expect(arriving(bench, tagged)).toEqual([0, 2]);
    });
  });
});

describe('settings that are made while the device is stopped', () => {
  it('are there when it starts', async () => {
    const sim = createSimulatedDevice({ host: null, features: CONTROL });
    const device = await NetDevice.open(sim.transport);
    await device.control.setReceiveMode({ promiscuous: true });
    await device.start();
    expect(arriving({ sim, device }, FRAMES)).toEqual([0, 1, 2, 3]);
    await device.close();
    expectNothingLeft(sim);
  });

  it('that the device refuses make the start fail, and the next one go without', async () => {
    const sim = createSimulatedDevice({ host: null, features: CONTROL });
    const device = await NetDevice.open(sim.transport);
    await device.control.setReceiveMode({ promiscuous: true });
    const stop = sim.onCommand(() => 'refuse');
    await expect(device.start()).rejects.toThrow(withCode('CONTROL_COMMAND_REFUSED'));
    expect(device.state).toBe('stopped');
    await device.start();
    stop();
    expect(arriving({ sim, device }, FRAMES)).toEqual([0, 3]);
    await device.close();
    expectNothingLeft(sim);
  });
});

describe('a device that does not answer', () => {
  it('is left alone, and has its settings again after a reset', async () => {
    await withDevice({}, { controlTimeout: 5 }, async ({ sim, device }) => {
      await device.control.setReceiveMode({ allMulticast: true });
      const stop = sim.onCommand(() => 'silence');
      await expect(device.control.setReceiveMode({ promiscuous: true })).rejects.toThrow(
        withCode('CONTROL_TIMEOUT'),
      );
      stop();
      await expect(device.control.setReceiveMode({ promiscuous: true })).rejects.toThrow(
        withCode('CONTROL_TIMEOUT'),
      );
      expect(device.state).toBe('running');
      expect(await device.reset()).toMatchObject({ lostSettings: [] });
      expect(arriving({ sim, device }, FRAMES)).toEqual([0, 2, 3]);
    });
  });

  it('tells after a reset which settings it did not take', async () => {
    await withDevice({}, { controlTimeout: 5 }, async ({ sim, device }) => {
      await device.control.setReceiveMode({ allMulticast: true });
      const stop = sim.onCommand(() => 'refuse');
      const { lostSettings } = await device.reset();
      expect(lostSettings).toMatchObject([
        { setting: 'receive mode allMulticast', error: { code: 'CONTROL_COMMAND_REFUSED' } },
      ]);
      stop();
      expect(device.state).toBe('running');
    });
  });

  it('can be closed while a command waits', async () => {
    const sim = createSimulatedDevice({ host: null, features: CONTROL });
    const device = await NetDevice.open(sim.transport);
    await device.start();
    sim.onCommand(() => 'silence');
    const waiting = device.control.setReceiveMode({ promiscuous: true });
    const closed = device.close();
    await expect(waiting).rejects.toThrow(withCode('DEVICE_NOT_STARTED'));
    await closed;
    await expect(device.control.setReceiveMode({})).resolves.toBeUndefined();
    await expect(device.control.setReceiveMode({ promiscuous: true })).rejects.toThrow(
      withCode('DEVICE_CLOSED'),
    );
    expectNothingLeft(sim);
  });
});

describe('changes that the device tells of', () => {
  it.each([true, false])('speed and duplex mode come as an event: interrupts %s', async (interrupts) => {
    await withDevice({ speed: 1000, duplex: 'full' }, { interrupts }, async ({ sim, device }) => {
      expect(device.linkSpeed).toEqual({ speed: 1000, duplex: 'full' });
      const told: unknown[] = [];
      device.on('speed', (speed) => told.push(speed));
      device.on('mtu', (mtu) => told.push(mtu));
      sim.setSpeed(25_000, 'half');
      if (!interrupts) while (told.length === 0) device.poll();
      await eventually(() => told.length === 1);
      sim.setSpeed();
      if (!interrupts) while (told.length === 1) device.poll();
      await eventually(() => told.length === 2);
      sim.setMtu(1400);
      if (!interrupts) while (told.length === 2) device.poll();
      await eventually(() => told.length === 3);
      expect(told).toEqual([
        { speed: 25_000, duplex: 'half' },
        { speed: undefined, duplex: undefined },
        1400,
      ]);
      expect(device.mtu).toBe(1500);
    });
  });

  // Proves: net/gratuitous-packet-sending/1
  it('a request to announce the device comes as an event, and is acknowledged', async () => {
    await withDevice({}, {}, async ({ sim, device }) => {
      const commands: unknown[] = [];
      const sent: number[] = [];
      sim.onCommand(({ name }) => void commands.push(name));
      sim.onTransmit((frame) => void sent.push(frame.length));
      device.on('announce', () => void device.send(frameTo([255, 255, 255, 255, 255, 255])));
      for (let time = 1; time <= 3; time += 1) {
        sim.announce();
        await eventually(() => commands.length === time);
      }
      await eventually(() => sent.length === 3);
      expect(commands).toEqual(new Array(3).fill('VIRTIO_NET_CTRL_ANNOUNCE_ACK'));
    });
  });

  it('a request to announce that came before the start is not missed', async () => {
    const sim = createSimulatedDevice({ host: null, features: CONTROL });
    const device = await NetDevice.open(sim.transport);
    let announcements = 0;
    device.on('announce', () => (announcements += 1));
    let acknowledged = 0;
    sim.onCommand(() => void (acknowledged += 1));
    sim.announce();
    await device.start();
    await eventually(() => acknowledged === 1);
    expect(announcements).toBe(1);
    await device.close();
    expectNothingLeft(sim);
  });
});

describe('what the device says of itself', () => {
  it('are its own statistics, queue by queue', async () => {
    await withDevice({}, {}, async (bench) => {
      await bench.device.send(numberedFrame(1, 100));
      await bench.device.flush();
      expect(arriving(bench, FRAMES)).toEqual([0, 3]);
      const { receive, transmit, control } = await bench.device.control.deviceStatistics();
      expect(receive[0]).toMatchObject({ packets: 2n, bytes: 120n, dropOverruns: 0n });
      expect(transmit[0]).toMatchObject({
        packets: 1n,
        bytes: 100n,
        drops: 0n,
        packetsAllowanceExceeded: 0n,
      });
      expect(control).toEqual({ commands: 2n, succeeded: 2n });
    });
  });

  it('is when it interrupts', async () => {
    await withDevice({}, {}, async ({ device }) => {
      const { control } = device;
      expect(await control.queueCoalescing(0, 'receive')).toEqual({ maxPackets: 0, maxMicroseconds: 0 });
      await control.setCoalescing({ receive: { maxPackets: 8, maxMicroseconds: 50 } });
      await control.setQueueCoalescing(0, 'transmit', { maxPackets: 3, maxMicroseconds: 4 });
      const read = async (): Promise<unknown> => [
        await control.queueCoalescing(0, 'receive'),
        await control.queueCoalescing(0, 'transmit'),
      ];
      const expected = [
        { maxPackets: 8, maxMicroseconds: 50 },
        { maxPackets: 3, maxMicroseconds: 4 },
      ];
      expect(await read()).toEqual(expected);
      await device.reset();
      expect(await read()).toEqual(expected);
    });
  });
});
