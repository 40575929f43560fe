/** Offloads with the whole driver and the software device, which checks every header and does what it is asked. */
import { describe, expect, it } from 'vitest';
import {
  CHECKSUM,
  completeChecksum,
  GSO,
  RECEIVE_OFFLOADS,
  requestOffload,
  type NetDeviceOptions,
  type PacketBuffer,
} from '../../src/index.js';
import type { SimulatedDeviceOptions, SimulatedFeature } from '../../src/sim/index.js';
import { hasRightChecksum, transportFrame, type TransportFrame } from './frames.js';
import { numberedFrame, refillAll, startBench, withCode, type Bench } from './support.js';

const BASE: readonly SimulatedFeature[] = [
  'VIRTIO_F_VERSION_1',
  'VIRTIO_F_RING_EVENT_IDX',
  'VIRTIO_NET_F_MAC',
  'VIRTIO_NET_F_MTU',
  'VIRTIO_NET_F_CSUM',
  'VIRTIO_NET_F_HOST_TSO4',
  'VIRTIO_NET_F_HOST_TSO6',
  'VIRTIO_NET_F_HOST_ECN',
  'VIRTIO_NET_F_HOST_USO',
  'VIRTIO_NET_F_GUEST_HDRLEN',
  ...RECEIVE_OFFLOADS,
];

const KINDS: readonly TransportFrame[] = [
  { version: 4, protocol: 'tcp', payload: 20_000 },
  { version: 6, protocol: 'tcp', payload: 60_000, options: 12 },
  { version: 4, protocol: 'udp', payload: 9001, vlan: true },
  { version: 6, protocol: 'udp', payload: 3000 },
];

const CARDS: readonly (readonly [string, readonly SimulatedFeature[], SimulatedDeviceOptions])[] = [
  ['split', ['VIRTIO_F_ACCESS_PLATFORM'], {}],
  ['packed', ['VIRTIO_F_ACCESS_PLATFORM', 'VIRTIO_F_RING_PACKED'], {}],
  ['split, indirect', ['VIRTIO_F_ACCESS_PLATFORM', 'VIRTIO_F_RING_INDIRECT_DESC'], {}],
  [
    'packed, indirect, in order',
    ['VIRTIO_F_ACCESS_PLATFORM', 'VIRTIO_F_RING_PACKED', 'VIRTIO_F_RING_INDIRECT_DESC', 'VIRTIO_F_IN_ORDER'],
    {},
  ],
  ['split, scattered', [], { behindIommu: false }],
  [
    'packed, scattered, indirect',
    ['VIRTIO_F_RING_PACKED', 'VIRTIO_F_RING_INDIRECT_DESC'],
    { behindIommu: false },
  ],
  ['legacy', [], { legacy: true, behindIommu: false }],
  ['legacy, any layout', ['VIRTIO_F_ANY_LAYOUT'], { legacy: true, behindIommu: false }],
];

async function start(
  card: SimulatedDeviceOptions,
  features: readonly SimulatedFeature[],
  options: NetDeviceOptions = {},
): Promise<Bench> {
  return startBench({ ...card, features: [...BASE, ...features] }, { interrupts: false, ...options });
}

/** All buffers but those that are posted are back. */
function expectAllBack({ device }: Bench): void {
  const { pool } = device.statistics();
  expect(pool.available).toBeLessThan(pool.size);
  expect(device.receive([])).toBe(0);
}

describe.each(CARDS)('a card with %s rings', (_, features, card) => {
  // The legacy interface has no feature bit for UDP.
  const kinds = KINDS.filter(({ protocol }) => protocol === 'tcp' || card.legacy !== true);

  it.each([
    ['in large buffers', []],
    ['in mergeable ones', ['VIRTIO_NET_F_MRG_RXBUF']],
  ] as const)('hands over large packets %s', async (_how, merging) => {
    const bench = await start({ ...card, queueSize: 64 }, [...features, ...merging], {
      features: { extra: RECEIVE_OFFLOADS },
      poolSize: 80,
    });
    const { sim, device } = bench;
    const before = device.statistics().pool.available;
    for (const kind of kinds) {
      const { bytes, network, transport, checksum } = transportFrame(kind);
      const tcp = kind.version === 6 ? GSO.TCP_V6 : GSO.TCP_V4;
      const gso = kind.protocol === 'tcp' ? tcp : GSO.UDP_L4;
      expect(sim.injectOffload(bytes, { checksum: CHECKSUM.NEEDED, gso, gsoSize: 1000 })).toBe(true);
      const batch: PacketBuffer[] = [];
      expect(device.receive(batch)).toBe(1);
      const [packet] = batch;
      expect(packet).toMatchObject({
        ...{ gso, gsoSize: 1000, checksum: CHECKSUM.NEEDED, totalLength: bytes.length },
        ...{ checksumStart: transport, checksumOffset: checksum },
      });
      expect(packet.next !== undefined).toBe(merging.length > 0);
      expect(hasRightChecksum(completeChecksum(packet).copy(), network, transport)).toBe(true);
      packet.release();
    }
    expect(sim.inject(numberedFrame(1))).toBe(true);
    const batch: PacketBuffer[] = [];
    expect(device.receive(batch)).toBe(1);
    expect(batch[0]).toMatchObject({ checksum: CHECKSUM.NONE, gso: GSO.NONE });
    expect(batch[0].copy()).toEqual(numberedFrame(1));
    batch[0].release();
    refillAll(device);
    expect(device.statistics().pool.available).toBe(before);
    expectAllBack(bench);
    await bench.finish();
  });

  it('cuts packets and completes their checksums, in one buffer and in many', async () => {
    for (const bufferSize of [66_048, 2048]) {
      const bench = await start(
        { ...card, queueSize: 64, segment: true },
        [...features, 'VIRTIO_NET_F_MRG_RXBUF'],
        {
          poolSize: 160,
          bufferSize,
        },
      );
      const { sim, device } = bench;
      const before = device.statistics().pool.available;
      const wire: Uint8Array[] = [];
      sim.onTransmit((frame) => wire.push(frame));
      for (const kind of kinds) {
        const { bytes, network, transport, headers } = transportFrame(kind);
        const packet = fill(bench, bytes, bufferSize - 64);
        expect(device.transmit([requestOffload(packet, { segmentSize: 1000 })])).toBe(1);
        await device.flush();
        const frames = wire.splice(0);
        expect(frames.length).toBe(Math.ceil((bytes.length - headers) / 1000));
        for (const frame of frames) expect(hasRightChecksum(frame, network, transport)).toBe(true);
        expect(frames.flatMap((frame) => [...frame.subarray(headers)])).toEqual([...bytes.subarray(headers)]);
      }
      expect(device.statistics().pool.available).toBe(before);
      await bench.finish();
    }
  });

  it('carries jumbo frames', async () => {
    const bench = await start({ ...card, mtu: 9000, queueSize: 64 }, features);
    const { sim, device } = bench;
    const wire: Uint8Array[] = [];
    sim.onTransmit((frame) => wire.push(frame));
    const frames = [60, 9014, 5000, 14].map((length, n) => numberedFrame(n, length));
    for (const frame of frames) expect(sim.inject(frame)).toBe(true);
    const batch: PacketBuffer[] = [];
    expect(device.receive(batch)).toBe(frames.length);
    expect(device.transmit(batch)).toBe(frames.length);
    await device.flush();
    expect(wire).toEqual(frames);
    expectAllBack(bench);
    await bench.finish();
  });
});

describe('a program', () => {
  it('sends on what it received, however large, as it came', async () => {
    const bench = await start({}, ['VIRTIO_F_ACCESS_PLATFORM', 'VIRTIO_NET_F_MRG_RXBUF'], {
      features: { extra: RECEIVE_OFFLOADS },
      interrupts: true,
    });
    const { sim, device } = bench;
    const { bytes } = transportFrame({ version: 6, payload: 50_000, tcpFlags: 0x90 });
    const sent = new Promise((resolve) =>
      sim.onTransmit((frame, details) => resolve({ length: frame.length, ...details })),
    );
    device.on('frame', (packet) => void device.send(packet));
    sim.injectOffload(bytes, { checksum: CHECKSUM.NEEDED, gso: GSO.TCP_V6, gsoSize: 1400, ecn: true });
    expect(await sent).toMatchObject({ length: bytes.length, gso: GSO.TCP_V6, gsoSize: 1400, ecn: true });
    await device.flush();
    await bench.finish();
  });

  it('gets whole frames with complete checksums if it asks for nothing', async () => {
    const bench = await start({}, ['VIRTIO_F_ACCESS_PLATFORM', 'VIRTIO_NET_F_MRG_RXBUF']);
    const { sim, device } = bench;
    const { bytes, network, transport } = transportFrame({ payload: 2000 });
    expect(sim.injectOffload(bytes, { checksum: CHECKSUM.NEEDED, gso: GSO.TCP_V4, gsoSize: 1000 })).toBe(
      true,
    );
    const batch: PacketBuffer[] = [];
    expect(device.receive(batch)).toBe(2);
    for (const packet of batch) {
      expect(packet).toMatchObject({ checksum: CHECKSUM.NONE, gso: GSO.NONE, next: undefined });
      expect(hasRightChecksum(packet.copy(), network, transport)).toBe(true);
      packet.release();
    }
    await bench.finish();
  });

  it('gets the hash of each frame once it has said of which ones', async () => {
    const hashing = ['VIRTIO_F_ACCESS_PLATFORM', 'VIRTIO_NET_F_CTRL_VQ', 'VIRTIO_NET_F_HASH_REPORT'] as const;
    const bench = await start({}, hashing, {
      features: { extra: [...RECEIVE_OFFLOADS, 'VIRTIO_NET_F_HASH_REPORT'] },
    });
    const { sim, device } = bench;
    const receive = (frame: Uint8Array): { hash: number; hashType: number } => {
      expect(sim.inject(frame)).toBe(true);
      const batch: PacketBuffer[] = [];
      expect(device.receive(batch)).toBe(1);
      const { hash, hashType } = batch[0];
      expect(batch[0].copy()).toEqual(frame);
      batch[0].release();
      return { hash, hashType };
    };
    const { bytes } = transportFrame();
    expect(receive(bytes)).toEqual({ hash: 0, hashType: 0 });
    await device.control.setHash();
    const tcp = receive(bytes);
    expect(tcp.hashType).toBe(2);
    expect(receive(bytes)).toEqual(tcp);
    const udp = receive(transportFrame({ version: 6, protocol: 'udp' }).bytes);
    expect(udp.hashType).toBe(6);
    expect(udp.hash).not.toBe(tcp.hash);
    expect(receive(numberedFrame(1))).toMatchObject({ hashType: 0 });
    expect(device.transmit([requestOffload(device.allocate().setFrame(bytes))])).toBe(1);
    await bench.finish();
  });

  it('is told by send() what can not be, and keeps the packet', async () => {
    const bench = await startBench({}, { interrupts: false });
    const { device } = bench;
    const packet = requestOffload(device.allocate().setFrame(transportFrame().bytes));
    await expect(device.send(packet)).rejects.toMatchObject(withCode('OFFLOAD_NOT_NEGOTIATED'));
    await device.send(completeChecksum(packet));
    await device.flush();
    await bench.finish();
  });

  it('is told of rings that could not hold one of its scattered buffers', async () => {
    const card = { behindIommu: false, mtu: 9000, isolation: true };
    await expect(start(card, [], { queueSize: 2 })).rejects.toMatchObject(withCode('OPTION_INVALID'));
    const bench = await start(card, [], { queueSize: 4 });
    expect(bench.sim.inject(numberedFrame(1, 9014))).toBe(true);
    const batch: PacketBuffer[] = [];
    expect(bench.device.receive(batch)).toBe(1);
    batch[0].release();
    await bench.finish();
  });

  it('counts what the device asks for without having been allowed to', async () => {
    const bench = await start({}, ['VIRTIO_F_ACCESS_PLATFORM'], {
      features: { extra: ['VIRTIO_NET_F_GUEST_CSUM'] },
    });
    const { sim, device } = bench;
    const raw = new Uint8Array(12 + 60);
    raw.set([0, 1, 0, 0, 100, 0, 0, 0, 0, 0, 1, 0]);
    raw.set(numberedFrame(1), 12);
    expect(sim.injectRaw(raw)).toBe(true);
    expect(device.receive([])).toBe(0);
    expect(device.statistics().receive.drops).toEqual({ short: 0, offload: 1, iteratorFull: 0 });
    await bench.finish();
  });
});

/** A packet with the frame, in as many buffers as it takes. */
function fill({ device }: Bench, frame: Uint8Array, room: number): PacketBuffer {
  const head = device.allocate().setFrame(frame.subarray(0, room));
  let tail = head;
  for (let at = room; at < frame.length; at += room) {
    const segment = device.allocate().setFrame(frame.subarray(at, at + room));
    tail.next = segment;
    tail = segment;
  }
  return head;
}
