/** What the device is asked to do with a packet, and what it is never asked. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CHECKSUM, GSO, requestOffload, type FeatureName, type PacketBuffer } from '../../src/index.js';
import { chooseFeatures } from '../../src/net/features.js';
import { featureMask } from '../../src/net/feature-table.js';
import { OWNED_BY_USER } from '../../src/memory/packet-constants.js';
import { hasRightChecksum, pseudoSum, transportFrame, type TransportFrame } from './frames.js';
import { PlainMemory } from '../support/plain-memory.js';
import { join, rig, type Rig, type RigOptions } from './offload-rig.js';
import { numberedFrame, withCode } from './support.js';

const HOST: readonly FeatureName[] = [
  'VIRTIO_NET_F_CSUM',
  'VIRTIO_NET_F_HOST_TSO4',
  'VIRTIO_NET_F_HOST_TSO6',
  'VIRTIO_NET_F_HOST_ECN',
  'VIRTIO_NET_F_HOST_UFO',
  'VIRTIO_NET_F_HOST_USO',
  'VIRTIO_NET_F_GUEST_HDRLEN',
];

/** A packet with the frame in it, over as many buffers as there are pieces. */
function packetOf(it: Rig, ...pieces: readonly Uint8Array[]): PacketBuffer {
  const packets = pieces.map((piece) => {
    const packet = it.pool.take();
    if (packet === undefined) throw new Error('the pool is empty');
    return packet.setFrame(piece);
  });
  for (const [at, packet] of packets.entries()) if (at > 0) packets[at - 1].next = packet;
  return packets[0];
}

function sendOne(it: Rig, packet: PacketBuffer): { view: DataView; frame: Uint8Array; parts: number } {
  expect(it.transmit.transmit([packet], 1)).toBe(1);
  const { parts, bytes } = it.sent();
  it.transmit.reclaim();
  return {
    view: new DataView(bytes.buffer, 0, it.headerSize),
    frame: bytes.subarray(it.headerSize),
    parts: parts.length,
  };
}

/** Cuts a frame at the given offsets. */
function cut(frame: Uint8Array, ...at: readonly number[]): Uint8Array[] {
  const ends = [...at, frame.length];
  return ends.map((end, index) => frame.subarray(index === 0 ? 0 : ends[index - 1], end));
}

function refuse(it: Rig, packet: PacketBuffer, code: string): void {
  const before = it.pool.available;
  expect(() => it.transmit.transmit([packet], 1)).toThrow(withCode(code));
  expect(() => it.transmit.checkPacket(packet)).toThrow(withCode(code));
  expect(it.transmit.ring.outstanding).toBe(0);
  packet.release();
  expect(it.pool.available).toBeGreaterThan(before);
}

describe('a packet whose checksum the device completes', () => {
  // Proves: net/packet-transmission/17, net/packet-transmission/18, net/packet-transmission/19,
  //   net/packet-transmission/20
  it.each<TransportFrame>([
    { version: 4, protocol: 'tcp' },
    { version: 4, protocol: 'udp', payload: 33 },
    { version: 6, protocol: 'tcp', options: 12 },
    { version: 6, protocol: 'udp', vlan: true },
    { version: 4, protocol: 'tcp', vlan: true, payload: 0 },
  ])('carries the sum of the pseudo header, and where the rest goes: %o', (fields) => {
    const it = rig({ features: HOST });
    const { bytes, network, transport, checksum, headers } = transportFrame(fields);
    const { view, frame } = sendOne(it, requestOffload(packetOf(it, bytes)));
    expect([view.getUint8(0), view.getUint8(1), view.getUint16(4, true), view.getUint16(10, true)]).toEqual([
      1, 0, 0, 0,
    ]);
    expect([view.getUint16(6, true), view.getUint16(8, true)]).toEqual([transport, checksum]);
    expect(view.getUint16(2, true)).toBeGreaterThanOrEqual(headers);
    expect(view.getUint16(2, true)).toBeLessThanOrEqual(frame.length);
    expect((frame[transport + checksum] << 8) | frame[transport + checksum + 1]).toBe(
      pseudoSum(bytes, network, transport),
    );
    // The device's part.
    completeAsDevice(frame, transport, checksum);
    expect(hasRightChecksum(frame, network, transport)).toBe(true);
    expect(it.pool.available).toBe(it.pool.size - 16);
  });

  it.each([
    [13, 0],
    [-1, 16],
    [34.5, 16],
    [34, -1],
    [34, 0.5],
    [65536, 16],
    [34, NaN],
    [34, 1000],
    [153, 0],
    [152, 1],
  ])('is refused with its checksum at %d + %d of 154 bytes', (checksumStart, checksumOffset) => {
    const it = rig({ features: HOST });
    const packet = packetOf(it, transportFrame().bytes);
    Object.assign(packet, { checksum: CHECKSUM.NEEDED, checksumStart, checksumOffset });
    refuse(it, packet, 'OFFLOAD_INVALID');
  });

  it('is refused where that was not negotiated, and goes out with the checksum complete', () => {
    const it = rig();
    refuse(it, requestOffload(packetOf(it, transportFrame().bytes)), 'OFFLOAD_NOT_NEGOTIATED');
    const packet = packetOf(it, transportFrame().bytes);
    packet.checksum = CHECKSUM.VALID;
    expect(sendOne(it, packet).view.getUint8(0)).toBe(0);
  });
});

describe('a packet that the device cuts into several', () => {
  // Proves: net/packet-transmission/22, net/packet-transmission/23, net/packet-transmission/5,
  //   net/packet-transmission/6, net/packet-transmission/8
  it.each([
    [{ version: 4, protocol: 'tcp' }, GSO.TCP_V4],
    [{ version: 4, protocol: 'tcp', options: 40, vlan: true }, GSO.TCP_V4],
    [{ version: 6, protocol: 'tcp', options: 12 }, GSO.TCP_V6],
    [{ version: 4, protocol: 'udp' }, GSO.UDP_L4],
    [{ version: 6, protocol: 'udp', vlan: true }, GSO.UDP_L4],
  ] as const)(
    'tells its kind, the exact length of its headers, and the size of the pieces: %o',
    (fields, gso) => {
      const it = rig({ features: HOST, frameCapacity: 65600 });
      const { bytes, transport, headers, checksum } = transportFrame({ ...fields, payload: 60000 });
      const { view, frame } = sendOne(it, requestOffload(packetOf(it, bytes), { segmentSize: 1400 }));
      expect([view.getUint8(0), view.getUint8(1)]).toEqual([1, gso]);
      expect(view.getUint16(2, true)).toBe(headers);
      expect(view.getUint16(4, true)).toBe(1400);
      expect([view.getUint16(6, true), view.getUint16(8, true)]).toEqual([transport, checksum]);
      expect(frame.length).toBe(bytes.length);
    },
  );

  // Proves: net/packet-transmission/9
  it('says that the congestion window was reduced where TCP says so, and only where that was negotiated', () => {
    const { bytes } = transportFrame({ tcpFlags: 0x90, payload: 3000 });
    const it = rig({ features: HOST, frameCapacity: 4000 });
    const { view } = sendOne(it, requestOffload(packetOf(it, bytes), { segmentSize: 1000 }));
    expect(view.getUint8(1)).toBe(GSO.TCP_V4 | 0x80);
    const without = rig({
      features: HOST.filter((name) => name !== 'VIRTIO_NET_F_HOST_ECN'),
      frameCapacity: 4000,
    });
    refuse(
      without,
      requestOffload(packetOf(without, bytes), { segmentSize: 1000 }),
      'OFFLOAD_NOT_NEGOTIATED',
    );
    const plain = requestOffload(packetOf(without, bytes.subarray(0, 1000)));
    expect(sendOne(without, plain).view.getUint8(1)).toBe(0);
  });

  it('may be UDP to be fragmented', () => {
    const it = rig({ features: HOST, frameCapacity: 4000 });
    const packet = requestOffload(packetOf(it, transportFrame({ protocol: 'udp', payload: 3000 }).bytes));
    Object.assign(packet, { gso: GSO.UDP, gsoSize: 1480 });
    expect(sendOne(it, packet).view.getUint8(1)).toBe(3);
  });

  // Proves: net/packet-transmission/7, net/packet-transmission/21
  it.each([
    ['VIRTIO_NET_F_HOST_TSO4', { version: 4 }],
    ['VIRTIO_NET_F_HOST_TSO6', { version: 6 }],
    ['VIRTIO_NET_F_HOST_USO', { protocol: 'udp' }],
    ['VIRTIO_NET_F_HOST_UFO', { protocol: 'udp' }],
  ] as const)('is refused without %s', (feature, fields) => {
    for (const features of [HOST.filter((name) => name !== feature), ['VIRTIO_NET_F_CSUM'] as const]) {
      const it = rig({ features, frameCapacity: 4000 });
      const packet = requestOffload(packetOf(it, transportFrame({ ...fields, payload: 3000 }).bytes), {
        segmentSize: 1000,
      });
      if (feature === 'VIRTIO_NET_F_HOST_UFO') packet.gso = GSO.UDP;
      refuse(it, packet, 'OFFLOAD_NOT_NEGOTIATED');
    }
  });

  it.each([
    ['pieces of nothing', { gsoSize: 0 }],
    ['pieces beyond the MTU', { gsoSize: 1461 }],
    ['pieces of no whole size', { gsoSize: 10.5 }],
    ['no partial checksum', { checksum: CHECKSUM.NONE }],
    ['a checked checksum', { checksum: CHECKSUM.VALID }],
    ['an unknown kind', { gso: 2 }],
    ['a kind that is none', { gso: 'constructor' }],
    ['the kind of another version', { gso: GSO.TCP_V6 }],
    ['the kind of another protocol', { gso: GSO.UDP_L4 }],
    ['the checksum of another protocol', { checksumOffset: 6 }],
    ['headers beyond the frame', { checksumStart: 3040 }],
  ])('is refused with %s', (_, fields) => {
    const it = rig({ features: HOST, frameCapacity: 4000 });
    const packet = requestOffload(packetOf(it, transportFrame({ payload: 3000 }).bytes), {
      segmentSize: 1460,
    });
    expect(() => it.transmit.checkPacket(packet)).not.toThrow();
    refuse(it, Object.assign(packet, fields), 'OFFLOAD_INVALID');
  });

  it('is refused beyond what IP can carry, and with headers that are not in the first buffer', () => {
    const it = rig({ features: HOST, frameCapacity: 66000 });
    const longest = transportFrame({ payload: 65535 - 40 }).bytes;
    const send = (bytes: Uint8Array): PacketBuffer =>
      requestOffload(packetOf(it, bytes), { segmentSize: 1400 });
    expect(sendOne(it, send(longest)).frame.length).toBe(65549);
    refuse(it, send(join(longest, new Uint8Array(1))), 'FRAME_TOO_LONG');
    const largest = transportFrame({ version: 6, payload: 65535 - 20 }).bytes;
    expect(sendOne(it, send(largest)).frame.length).toBe(65589);
    refuse(it, send(join(largest, new Uint8Array(1))), 'FRAME_TOO_LONG');
    const { bytes } = transportFrame({ payload: 3000, options: 8 });
    const packet = packetOf(it, ...cut(bytes, 55));
    const fields = { checksum: CHECKSUM.NEEDED, checksumStart: 34, checksumOffset: 16 };
    refuse(it, Object.assign(packet, { ...fields, gso: GSO.TCP_V4, gsoSize: 1400 }), 'OFFLOAD_INVALID');
    // Nor is the length of the TCP header taken from what happens to lie behind the first segment.
    const short = packetOf(it, ...cut(bytes, 46));
    short.bytes[short.start + 46] = 0;
    refuse(it, Object.assign(short, { ...fields, gso: GSO.TCP_V4, gsoSize: 1400 }), 'OFFLOAD_INVALID');
  });
});

describe('a packet over several buffers', () => {
  it.each([{}, { indirectEntries: 8 }])('goes out as one frame, whatever the pieces: %o', (options) => {
    const it = rig({ features: HOST, ...options });
    const lengths = fc.array(fc.nat(240), { maxLength: 5 });
    fc.assert(
      fc.property(fc.integer({ min: 14, max: 300 }), lengths, (first, others) => {
        const bytes = numberedFrame(
          others.length,
          [first, ...others].reduce((sum, length) => sum + length, 0),
        );
        const ends = others.map((_, at) => others.slice(0, at).reduce((sum, length) => sum + length, first));
        const packet = packetOf(it, ...cut(bytes, ...ends));
        const { view, frame, parts } = sendOne(it, packet);
        expect(frame).toEqual(bytes);
        expect(view.getUint8(0)).toBe(0);
        expect(parts).toBe(1 + others.filter((length) => length > 0).length);
        expect(it.pool.available).toBe(it.pool.size - 16);
      }),
    );
    expect(it.transmit.ring.freeDescriptors).toBe(16);
  });

  it('is the driver’s, with all its buffers, until the device is done with it', () => {
    const it = rig({ features: HOST });
    const bytes = transportFrame({ payload: 300 }).bytes;
    const packet = packetOf(it, ...cut(bytes, 60, 61));
    const segment = packet.next;
    if (segment === undefined) throw new Error('the packet has one buffer');
    expect(() => it.transmit.transmit([segment], 1)).toThrow(withCode('PACKET_NOT_OWNED'));
    expect(it.transmit.transmit([packet], 1)).toBe(1);
    for (const one of [packet, segment]) {
      expect(() => one.release()).toThrow(withCode('PACKET_NOT_OWNED'));
      expect(() => (one.next = undefined)).toThrow(withCode('PACKET_NOT_OWNED'));
    }
    expect(it.transmit.counters).toMatchObject({ frames: 1, bytes: bytes.length });
    it.transmit.reset();
    expect(it.pool.available).toBe(it.pool.size - 16);
  });

  it('asks the device for offloads as any other', () => {
    const it = rig({ features: HOST });
    const { bytes, network, transport } = transportFrame({ payload: 2901 });
    const packet = requestOffload(packetOf(it, ...cut(bytes, 54, 1501)), { segmentSize: 1000 });
    const { view, frame, parts } = sendOne(it, packet);
    expect(parts).toBe(3);
    expect([view.getUint8(0), view.getUint8(1), view.getUint16(2, true)]).toEqual([1, GSO.TCP_V4, 54]);
    completeAsDevice(frame, transport, 16);
    expect(hasRightChecksum(frame, network, transport)).toBe(true);
  });

  it('waits where the ring has no room for all of it, and is refused where it never will', () => {
    const it = rig({ ringSize: 4, poolSize: 32 });
    const three = packetOf(it, ...cut(numberedFrame(1, 300), 100, 200));
    expect(it.transmit.transmit([packetOf(it, numberedFrame(2)), three], 2)).toBe(2);
    const two = packetOf(it, ...cut(numberedFrame(3, 300), 100));
    expect(it.transmit.transmit([two], 1)).toBe(0);
    expect(it.transmit.ringFull).toBe(1);
    it.sent();
    expect(it.sent().bytes.subarray(12)).toEqual(numberedFrame(1, 300));
    expect(it.transmit.transmit([two], 1)).toBe(1);
    expect(it.sent().bytes.subarray(12)).toEqual(numberedFrame(3, 300));
    it.transmit.reclaim();
    refuse(it, packetOf(it, ...cut(numberedFrame(4, 300), 100, 150, 200, 250)), 'PACKET_CHAIN_INVALID');
  });

  it('is refused with a piece that is out of its buffer, and one that holds no Ethernet header', () => {
    const it = rig();
    const broken = (fields: Partial<PacketBuffer>): PacketBuffer => {
      const packet = packetOf(it, ...cut(numberedFrame(1, 300), 100));
      Object.assign(packet.next ?? packet, fields);
      return packet;
    };
    refuse(it, broken({ start: -1 }), 'FRAME_TOO_LONG');
    refuse(it, broken({ start: 1.5 }), 'FRAME_TOO_LONG');
    refuse(it, broken({ start: 2000 }), 'FRAME_TOO_LONG');
    refuse(it, broken({ length: 3000 }), 'FRAME_TOO_LONG');
    refuse(it, broken({ length: NaN }), 'FRAME_TOO_LONG');
    refuse(it, broken({ length: -5 }), 'FRAME_TOO_SHORT');
    refuse(it, broken({ length: 1500 }), 'FRAME_TOO_LONG');
    refuse(it, packetOf(it, ...cut(numberedFrame(1, 300), 13)), 'PACKET_CHAIN_INVALID');
    refuse(it, packetOf(it, ...cut(new Uint8Array(13), 5)), 'PACKET_CHAIN_INVALID');
  });
});

describe('a buffer that begins below 4 GiB and ends above', () => {
  it('is sent from where the frame lies in it, and received into as a whole', () => {
    // The 21st buffer of 9088 bytes lies across.
    const memory = new PlainMemory(2 ** 32 - 45 * 4096);
    const it = rig({ memory, frameCapacity: 9018, poolSize: 21, indirectEntries: 2 });
    const across = it.pool.packets[20];
    expect([across.addressHi, across.addressLo + across.bytes.length > 2 ** 32]).toEqual([0, true]);
    const [first, ...others] = Array.from({ length: 5 }, () => it.pool.take());
    expect(first?.index).toBe(16);
    expect(others.at(-1)).toBe(across);
    for (const start of [64, 1024, 5000]) {
      const packet = across.owner === OWNED_BY_USER ? across : it.pool.take();
      if (packet !== across) throw new Error('it did not come back');
      packet.start = start;
      expect(sendOne(it, packet.setFrame(numberedFrame(start, 1514))).frame).toEqual(
        numberedFrame(start, 1514),
      );
    }
    expect(it.pool.available).toBe(1);
    it.fill(join(new Uint8Array(12), numberedFrame(1)));
    const [held] = it.received();
    it.receive.refill();
    const posted = Array.from({ length: 16 }, () => it.posted());
    expect(posted.at(-1)?.reduce((sum, length) => sum + length)).toBe(9088 - 64 + 12);
    expect(posted.at(-1)).toHaveLength(2);
    held.release();
  });
});

describe('the header of a sent packet', () => {
  // Proves: net/packet-transmission/1
  it.each<[RigOptions, number, number]>([
    [{}, 12, 1],
    [{ features: ['VIRTIO_NET_F_HASH_REPORT'] }, 20, 1],
    [{ legacy: true }, 10, 2],
    [{ legacy: true, features: ['VIRTIO_F_ANY_LAYOUT'] }, 10, 1],
    [{ legacy: true, features: ['VIRTIO_NET_F_MRG_RXBUF'] }, 12, 2],
  ])('has the size of the received ones: %o', (options, size, parts) => {
    const it = rig(options);
    expect(it.headerSize).toBe(size);
    const packet = it.pool.take();
    if (packet === undefined) throw new Error('the pool is empty');
    packet.bytes.fill(0xff);
    const sent = sendOne(it, packet.setFrame(numberedFrame(1)));
    expect(sent.parts).toBe(parts);
    expect(new Uint8Array(sent.view.buffer, 0, size)).toEqual(new Uint8Array(size));
    expect(sent.frame).toEqual(numberedFrame(1));
  });

  // Proves: net/packet-transmission/32
  it('has the exact length of the headers wherever the device asks for that', () => {
    const offered = featureMask('VIRTIO_F_VERSION_1') | featureMask('VIRTIO_NET_F_GUEST_HDRLEN');
    expect(chooseFeatures(offered).has('VIRTIO_NET_F_GUEST_HDRLEN')).toBe(true);
  });
});

/** What a device does: the sum from the start of the transport header on, put where it belongs. */
function completeAsDevice(frame: Uint8Array, start: number, offset: number): void {
  let sum = 0;
  for (let at = start; at < frame.length; at += 2)
    sum += (frame[at] << 8) | (at + 1 < frame.length ? frame[at + 1] : 0);
  while (sum > 0xffff) sum = (sum >>> 16) + (sum & 0xffff);
  frame[start + offset] = (~sum >> 8) & 0xff;
  frame[start + offset + 1] = ~sum & 0xff;
}
