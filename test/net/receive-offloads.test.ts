/** What a received packet says of checksum, segmentation and hash, and what the driver does not believe. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CHECKSUM, GSO, type FeatureName, type PacketBuffer } from '../../src/index.js';
import { chooseFrameCapacity } from '../../src/net/frame-capacity.js';
import { transportFrame } from './frames.js';
import { header, join, rig, type Rig, type RigOptions } from './offload-rig.js';
import { numberedFrame, withCode } from './support.js';

const CSUM: readonly FeatureName[] = ['VIRTIO_NET_F_GUEST_CSUM'];
const TSO: readonly FeatureName[] = [...CSUM, 'VIRTIO_NET_F_GUEST_TSO4', 'VIRTIO_NET_F_GUEST_TSO6'];
const FLAG = { NEEDS_CSUM: 1, DATA_VALID: 2, RSC_INFO: 4 };
const TCP = transportFrame({ payload: 600 });

function receiveOne(
  it: Rig,
  fields: Parameters<typeof header>[1],
  frame: Uint8Array = TCP.bytes,
): PacketBuffer | undefined {
  it.fill(join(header(it.headerSize, fields), frame));
  return it.received()[0];
}

describe.each([
  ['in single buffers', []],
  ['in mergeable buffers', ['VIRTIO_NET_F_MRG_RXBUF']],
] as const)('a received packet, %s,', (_, more) => {
  const start = (features: readonly FeatureName[], options: RigOptions = {}): Rig =>
    rig({ ...options, features: [...features, ...more] });

  // Proves: net/processing-of-incoming-packets/4, net/processing-of-incoming-packets/7
  it('says what is known of its checksum', () => {
    const it = start(CSUM);
    const place = { checksumStart: TCP.transport, checksumOffset: 16 };
    const cases = [
      [0, CHECKSUM.NONE],
      [FLAG.DATA_VALID, CHECKSUM.VALID],
      [FLAG.NEEDS_CSUM, CHECKSUM.NEEDED],
      [FLAG.NEEDS_CSUM | FLAG.DATA_VALID, CHECKSUM.NEEDED],
    ];
    for (const [flags, checksum] of cases) {
      const packet = receiveOne(it, { flags, ...place });
      expect(packet).toMatchObject({ checksum, gso: GSO.NONE });
      if (checksum === CHECKSUM.NEEDED) expect(packet).toMatchObject(place);
      packet?.release();
    }
  });

  // Proves: net/processing-of-incoming-packets/1
  it('is taken whatever other flags it has', () => {
    const it = start(CSUM);
    for (const flags of [8, 16, 32, 64, 128, 248]) {
      const packet = receiveOne(it, { flags });
      expect(packet?.checksum).toBe(CHECKSUM.NONE);
      packet?.release();
    }
  });

  it.each([
    [TCP.bytes.length - 17, 16],
    [65535, 65535],
    [0, 16],
    [13, 0],
    [34, TCP.bytes.length - 35],
  ])('is dropped if its checksum lies outside of it: %i + %i', (checksumStart, checksumOffset) => {
    const it = start(CSUM);
    expect(receiveOne(it, { flags: FLAG.NEEDS_CSUM, checksumStart, checksumOffset })).toBeUndefined();
    expect(it.receive.drops).toMatchObject({ offload: 1, short: 0 });
    expect(it.receive.counters.frames).toBe(0);
  });

  // Proves: net/processing-of-incoming-packets/5, net/processing-of-incoming-packets/6
  it('says how it is to be cut, with the length of its headers as a hint that is never beyond it', () => {
    const it = start([...TSO, 'VIRTIO_NET_F_GUEST_ECN']);
    const fields = { flags: FLAG.NEEDS_CSUM, checksumStart: 34, checksumOffset: 16, gsoSize: 100 };
    for (const [gsoType, gso, ecn] of [
      [1, GSO.TCP_V4, false],
      [0x84, GSO.TCP_V6, true],
    ] as const) {
      for (const [headerLength, hint] of [
        [54, 54],
        [0, 0],
        [65535, TCP.bytes.length],
      ]) {
        const packet = receiveOne(it, { ...fields, gsoType, headerLength });
        expect(packet).toMatchObject({ gso, ecn, gsoSize: 100, headerLength: hint });
        packet?.release();
      }
    }
  });

  // Proves: net/processing-of-incoming-packets/8, net/processing-of-incoming-packets/10
  it('is dropped if it asks for a kind of segmentation that was not negotiated, or for pieces of nothing', () => {
    const it = start(TSO);
    const needs = { flags: FLAG.NEEDS_CSUM, checksumStart: 34, checksumOffset: 16 };
    // UDP, unknown ones, TCP with ECN, tunnels over IPv4, IPv6, both, and without a type.
    const types = [2, 3, 5, 6, 31, 0x81, 0x21, 0x44, 0x61, 0x20, 0x40, 0x60, 0x80, 0xff];
    for (const gsoType of types) {
      expect(receiveOne(it, { ...needs, gsoType, gsoSize: 100 })).toBeUndefined();
      expect(receiveOne(it, { flags: FLAG.DATA_VALID, gsoType, gsoSize: 100 })).toBeUndefined();
    }
    expect(receiveOne(it, { ...needs, gsoType: 1, gsoSize: 0 })).toBeUndefined();
    expect(it.receive.drops.offload).toBe(2 * types.length + 1);
    const next = receiveOne(it, {});
    expect(next).toMatchObject({ gso: GSO.NONE, checksum: CHECKSUM.NONE });
    next?.release();
  });

  it.each([
    ['VIRTIO_NET_F_GUEST_UFO', 3],
    ['VIRTIO_NET_F_GUEST_USO4', 5],
    ['VIRTIO_NET_F_GUEST_USO6', 5],
  ] as const)('may be a large one of UDP with %s', (feature, gsoType) => {
    const it = start([...CSUM, feature]);
    const packet = receiveOne(it, { gsoType, gsoSize: 1400 });
    expect(packet).toMatchObject({ gso: gsoType, gsoSize: 1400 });
    packet?.release();
  });

  it('brings the hash with it, in a header of 20 bytes', () => {
    for (const features of [[], CSUM]) {
      const it = start([...features, 'VIRTIO_NET_F_HASH_REPORT']);
      expect(it.headerSize).toBe(20);
      for (const hash of [0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0x51ccc178]) {
        const packet = receiveOne(it, { hash, hashReport: 2, flags: FLAG.DATA_VALID });
        expect(packet).toMatchObject({ hash, hashType: 2, length: TCP.bytes.length });
        expect(packet?.checksum).toBe(features.length === 0 ? CHECKSUM.NONE : CHECKSUM.VALID);
        expect(packet?.copy()).toEqual(TCP.bytes);
        packet?.release();
      }
    }
  });

  it('says how many segments were put together, and still where its checksum goes', () => {
    // So few buffers that each is used again.
    const it = start([...TSO, 'VIRTIO_NET_F_RSC_EXT'], { ringSize: 1, poolSize: 2 });
    for (const { bytes, transport, checksum } of [
      TCP,
      transportFrame({ version: 6, vlan: true, options: 12 }),
      transportFrame({ protocol: 'udp' }),
    ]) {
      const packet = receiveOne(
        it,
        {
          flags: FLAG.NEEDS_CSUM | FLAG.RSC_INFO,
          checksumStart: 7,
          checksumOffset: 3,
          gsoType: 1,
          gsoSize: 100,
        },
        bytes,
      );
      expect(packet).toMatchObject({
        coalescedSegments: 7,
        duplicateAcks: 3,
        checksum: CHECKSUM.NEEDED,
        checksumStart: transport,
        checksumOffset: checksum,
      });
      packet?.release();
    }
    const plain = receiveOne(it, { flags: FLAG.DATA_VALID });
    expect(plain).toMatchObject({ coalescedSegments: 0, duplicateAcks: 0, checksum: CHECKSUM.VALID });
    plain?.release();
    const notTcp = receiveOne(it, { flags: FLAG.NEEDS_CSUM | FLAG.RSC_INFO }, numberedFrame(1));
    expect(notTcp).toBeUndefined();
  });

  it('takes no counts for a place, though the counts themselves were not negotiated', () => {
    const it = start(TSO);
    const flags = FLAG.NEEDS_CSUM | FLAG.RSC_INFO;
    const packet = receiveOne(it, { flags, checksumStart: 50, checksumOffset: 3, gsoType: 1, gsoSize: 100 });
    expect(packet).toMatchObject({ checksumStart: TCP.transport, checksumOffset: 16, coalescedSegments: 0 });
    packet?.release();
  });

  it('is either dropped or in itself right, whatever its header holds, and no buffer is lost', () => {
    const features: FeatureName[] = [...TSO, 'VIRTIO_NET_F_RSC_EXT', 'VIRTIO_NET_F_HASH_REPORT'];
    const it = start(features);
    const single = more.length === 0;
    const gso = new Set<number>([GSO.NONE, GSO.TCP_V4, GSO.TCP_V6]);
    const bytes = fc.uint8Array({ minLength: 20, maxLength: 20 });
    fc.assert(
      fc.property(bytes, fc.uint8Array({ minLength: 14, maxLength: 200 }), (garbage, frame) => {
        if (!single) garbage.set([1, 0], 10);
        it.fill(join(garbage, frame));
        const { offload } = it.receive.drops;
        const [packet] = it.received();
        if (it.receive.drops.offload > offload) {
          expect(packet).toBeUndefined();
          return;
        }
        expect(packet.copy()).toEqual(frame);
        expect(gso.has(packet.gso)).toBe(true);
        if (packet.gso !== GSO.NONE) expect(packet.gsoSize).toBeGreaterThan(0);
        if (packet.checksum === CHECKSUM.NEEDED) {
          expect(packet.checksumStart).toBeGreaterThanOrEqual(14);
          expect(packet.checksumStart + packet.checksumOffset + 2).toBeLessThanOrEqual(frame.length);
        }
        packet.release();
      }),
      { numRuns: 1000 },
    );
    it.receive.paused = true;
    it.receive.reset();
    expect(it.pool.available).toBe(it.pool.size);
  });
});

describe('receive buffers', () => {
  // Proves: net/setting-up-receive-buffers/1, net/setting-up-receive-buffers/2
  it('hold the longest frame that may come', () => {
    const capacity = (names: readonly FeatureName[], mtu = 1500, bufferSize?: number): number =>
      chooseFrameCapacity({ has: (name) => names.includes(name) }, mtu, bufferSize);
    const large: FeatureName[] = [
      'VIRTIO_NET_F_GUEST_TSO4',
      'VIRTIO_NET_F_GUEST_TSO6',
      'VIRTIO_NET_F_GUEST_UFO',
    ];
    large.push('VIRTIO_NET_F_GUEST_USO4', 'VIRTIO_NET_F_GUEST_USO6');
    for (const feature of large) {
      for (const report of [[], ['VIRTIO_NET_F_HASH_REPORT']] as const) {
        const features = [...CSUM, feature, ...report];
        expect(capacity(features)).toBeGreaterThanOrEqual(65589);
        expect(capacity([...features, 'VIRTIO_NET_F_MRG_RXBUF'])).toBe(1518);
        const it = rig({ features, frameCapacity: capacity(features), ringSize: 2, poolSize: 3 });
        // What the device is given, header included.
        const buffer = 65609 - (report.length === 0 ? 8 : 0);
        expect(it.fill(new Uint8Array(buffer))).toBe(buffer);
      }
    }
    expect(capacity([], 68)).toBeGreaterThanOrEqual(1514);
    expect(capacity([], 9000)).toBe(9018);
    expect(capacity([], 1500, 4096)).toBe(4032);
    expect(() => capacity([], 9000, 4096)).toThrow(withCode('OPTION_INVALID'));
    expect(() => capacity([...TSO], 1500, 65535)).toThrow(withCode('OPTION_INVALID'));
  });

  it('all come back from a reset, those too whose frames were fetched and not received', () => {
    const it = rig({ ringSize: 4 });
    for (let n = 0; n < 4; n += 1) it.fill(join(header(12), numberedFrame(n)));
    it.receive.fetch(3);
    const first = it.receive.next();
    expect(first?.frame).toEqual(numberedFrame(0));
    it.receive.paused = true;
    expect(it.receive.reset()).toBe(3);
    first?.release();
    expect(it.pool.available).toBe(it.pool.size);
  });

  it('bring a frame of 64 KiB, in one buffer or in many', () => {
    const { bytes } = transportFrame({ version: 6, payload: 65400 });
    const fields = {
      flags: FLAG.NEEDS_CSUM,
      gsoType: 4,
      gsoSize: 1440,
      checksumStart: 54,
      checksumOffset: 16,
    };
    const it = rig({ features: TSO, frameCapacity: 65593, ringSize: 2, poolSize: 3 });
    const packet = receiveOne(it, fields, bytes);
    expect(packet?.next).toBeUndefined();
    expect(packet?.copy()).toEqual(bytes);
    packet?.release();

    const merging = rig({ features: [...TSO, 'VIRTIO_NET_F_MRG_RXBUF'], ringSize: 64 });
    const room = merging.pool.packets[0].bytes.length - 52;
    const all = join(header(12, { ...fields, buffers: Math.ceil((bytes.length + 12) / room) }), bytes);
    for (let at = 0; at < all.length; at += room) merging.fill(all.subarray(at, at + room));
    const [merged] = merging.received();
    expect(merged).toMatchObject({ gso: GSO.TCP_V6, totalLength: bytes.length, checksum: CHECKSUM.NEEDED });
    expect(merged.copy()).toEqual(bytes);
    merged.release();
    expect(merging.pool.available).toBe(merging.pool.size - 64);
  });

  it.each([
    [[], 10, [10, 1984]],
    [['VIRTIO_F_ANY_LAYOUT'], 10, [1994]],
    [['VIRTIO_NET_F_MRG_RXBUF'], 12, [12, 1984]],
    [['VIRTIO_NET_F_MRG_RXBUF', 'VIRTIO_F_ANY_LAYOUT'], 12, [1996]],
  ] as const)('are laid out for a legacy device with %s', (features, size, lengths) => {
    const it = rig({ features, legacy: true });
    expect(it.headerSize).toBe(size);
    const frame = numberedFrame(1, 1000);
    const packet = receiveOne(it, {}, frame);
    expect(packet?.copy()).toEqual(frame);
    packet?.release();
    expect(it.posted()).toEqual(lengths);
  });
});
