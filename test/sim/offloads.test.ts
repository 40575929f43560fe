import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { internetChecksum } from '../../src/packet/index.js';
import {
  createSimulatedDevice,
  type FrameOffload,
  type SimulatedDeviceOptions,
} from '../../src/sim/index.js';
import type { SimulatedFeature } from '../../src/sim/index.js';
import { hasRightChecksum, pseudoHeaderSum, storeWord } from '../../src/sim/net/checksum.js';
import { ipPacketOf } from '../../src/sim/net/dissect.js';
import { expectViolation, frameOf, NEXT, WRITE } from './support.js';
import {
  ackOf,
  BASE,
  ERR,
  ipFrame,
  OK,
  startAll,
  withControl,
  type IpFields,
  type NetBench,
} from './net-bench.js';

const V4 = { source: [10, 0, 2, 15], destination: [10, 0, 2, 2] };
const V6 = {
  source: [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
  destination: [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
};
const [TCPV4, UDP, TCPV6, UDP_L4, ECN] = [1, 3, 4, 5, 0x80];
const HOST_OFFLOADS: SimulatedFeature[] = [
  'VIRTIO_NET_F_CSUM',
  'VIRTIO_NET_F_HOST_TSO4',
  'VIRTIO_NET_F_HOST_TSO6',
  'VIRTIO_NET_F_HOST_ECN',
  'VIRTIO_NET_F_HOST_UFO',
  'VIRTIO_NET_F_HOST_USO',
  'VIRTIO_NET_F_GUEST_HDRLEN',
];
const GUEST_OFFLOADS: SimulatedFeature[] = [
  'VIRTIO_NET_F_GUEST_CSUM',
  'VIRTIO_NET_F_GUEST_TSO4',
  'VIRTIO_NET_F_GUEST_TSO6',
  'VIRTIO_NET_F_GUEST_ECN',
  'VIRTIO_NET_F_GUEST_UFO',
  'VIRTIO_NET_F_GUEST_USO4',
  'VIRTIO_NET_F_GUEST_USO6',
];

interface Sent {
  readonly frame: Uint8Array;
  readonly details: FrameOffload & { queue: number };
}

interface OffloadBench extends NetBench {
  readonly sent: Sent[];
}

function start(features: SimulatedFeature[], more: SimulatedDeviceOptions = {}): OffloadBench {
  const device = createSimulatedDevice({
    host: null,
    isolation: true,
    features: [...BASE, ...features],
    ...more,
  });
  const sent: Sent[] = [];
  device.onTransmit((frame, details) => sent.push({ frame, details }));
  return { ...startAll(device), sent };
}

/** A frame whose transport checksum is the sum of the pseudo header. */
function partial(fields: IpFields): Uint8Array {
  const frame = ipFrame(fields);
  const packet = ipPacketOf(frame);
  if (packet === undefined) throw new Error('no packet');
  storeWord(
    frame,
    packet.payload + (fields.protocol === 6 ? 16 : 6),
    pseudoHeaderSum(packet, packet.end - packet.payload),
  );
  return frame;
}

interface Header {
  readonly flags?: number;
  readonly type?: number;
  readonly headerLength?: number;
  readonly size?: number;
  readonly start?: number;
  readonly offset?: number;
}

/** Sends a frame of any length behind a header of 12 bytes. */
function send({ rings, transport }: NetBench, frame: Uint8Array, header: Header = {}): void {
  const region = transport.memory.allocate(12 + frame.length);
  const view = new DataView(region.buffer);
  view.setUint8(0, header.flags ?? 0);
  view.setUint8(1, header.type ?? 0);
  for (const [index, value] of [header.headerLength, header.size, header.start, header.offset].entries())
    view.setUint16(2 + 2 * index, value ?? 0, true);
  new Uint8Array(region.buffer).set(frame, 12);
  rings[1].describe(0, { address: region.addressOf(0).lo, length: 12 + frame.length });
  rings[1].offer(0);
  rings[1].notify();
  rings[1].collect();
}

const rightChecksum = (frame: Uint8Array): boolean | undefined => {
  const packet = ipPacketOf(frame);
  return packet === undefined ? undefined : hasRightChecksum(frame, packet);
};

/** The payload of the transport layer. */
const payloadOf = (frame: Uint8Array, length: number): number[] => [...frame.slice(length)];

describe('offloads of what the driver sends', () => {
  const UDP_HEADERS = 14 + 20 + 8;
  const TCP_HEADERS = 14 + 20 + 20;

  it('come with the frame as the driver gave it', () => {
    const bench = start(HOST_OFFLOADS);
    const frame = partial({ ...V4, protocol: 6, ports: [1, 2], payload: 4000 });
    send(bench, frame, {
      flags: 1,
      type: TCPV4,
      size: 1448,
      headerLength: TCP_HEADERS,
      start: 34,
      offset: 16,
    });
    expect(bench.sent).toEqual([
      {
        frame,
        details: {
          queue: 1,
          checksum: 1,
          checksumStart: 34,
          checksumOffset: 16,
          gso: 1,
          gsoSize: 1448,
          ecn: false,
          headerLength: TCP_HEADERS,
        },
      },
    ]);
    expect(bench.device.statistics.queues[1]).toMatchObject({
      gsoFrames: 1,
      segments: 3,
      checksumsNeeded: 1,
    });
    expect(bench.device.violations).toEqual([]);
  });

  it.each([
    ['TCP over IPv4', { ...V4, protocol: 6 }, TCPV4, TCP_HEADERS, 16],
    ['TCP over IPv6', { ...V6, protocol: 6 }, TCPV6, TCP_HEADERS + 20, 16],
    ['UDP over IPv4', { ...V4, protocol: 17 }, UDP_L4, UDP_HEADERS, 6],
    ['UDP over IPv6', { ...V6, protocol: 17 }, UDP_L4, UDP_HEADERS + 20, 6],
  ])('are segments on the wire: %s', (_name, fields, type, headerLength, offset) => {
    const bench = start(HOST_OFFLOADS, { segment: true });
    const start34 = headerLength - (fields.protocol === 6 ? 20 : 8);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 5000 }), fc.integer({ min: 1, max: 2000 }), (payload, size) => {
        bench.sent.length = 0;
        const frame = partial({ ...fields, ports: [1, 2], payload, flags: 0x19 });
        send(bench, frame, { flags: 1, type, size, headerLength, start: start34, offset });
        const frames = bench.sent.map((each) => each.frame);
        expect(frames).toHaveLength(Math.max(1, Math.ceil(payload / size)));
        expect(frames.every((each) => rightChecksum(each) === true)).toBe(true);
        expect(frames.every((each) => ipPacketOf(each)?.end === each.length)).toBe(true);
        expect(frames.flatMap((each) => payloadOf(each, headerLength))).toEqual(
          payloadOf(frame, headerLength),
        );
        if (fields.source.length === 4)
          expect(frames.every((each) => internetChecksum(each, 14, 34) === 0)).toBe(true);
        if (fields.protocol !== 6) return;
        // Only the last one ends the stream, and the sequence goes on where the one before stopped.
        expect(frames.map((each) => each[headerLength - 7] & 9)).toEqual(
          frames.map((_, index) => (index === frames.length - 1 ? 9 : 0)),
        );
        const sequences = frames.map((each) => new DataView(each.buffer).getUint32(headerLength - 16));
        expect(sequences).toEqual(frames.map((_, index) => (0xffff_fff0 + index * size) % 2 ** 32));
      }),
      { numRuns: 40 },
    );
    expect(bench.device.violations).toEqual([]);
  });

  it.each([
    ['IPv4', V4, 14 + 20],
    ['IPv6', V6, 14 + 40 + 8],
  ])('are IP fragments on the wire, of UDP over %s', (_name, addresses, headerLength) => {
    const bench = start(HOST_OFFLOADS, { segment: true });
    const frame = partial({ ...addresses, protocol: 17, ports: [1, 2], payload: 3000 });
    const start34 = addresses === V4 ? 34 : 54;
    send(bench, frame, {
      flags: 1,
      type: UDP,
      size: 1480,
      headerLength: start34 + 8,
      start: start34,
      offset: 6,
    });
    const frames = bench.sent.map((each) => each.frame);
    expect(frames).toHaveLength(3);
    expect(frames.map((each) => ipPacketOf(each)?.fragment)).toEqual([true, true, true]);
    const whole = frames.flatMap((each) => payloadOf(each, headerLength));
    expect(whole.slice(8)).toEqual(payloadOf(frame, start34 + 8));
    const rebuilt = Uint8Array.from([...frame.slice(0, start34), ...whole]);
    expect(rightChecksum(rebuilt)).toBe(true);
  });

  it('are checksums that the device completes', () => {
    const bench = start(['VIRTIO_NET_F_CSUM'], { segment: true });
    send(bench, partial({ ...V4, protocol: 17, ports: [1, 2], payload: 5 }), {
      flags: 1,
      start: 34,
      offset: 6,
    });
    expect(rightChecksum(bench.sent[0].frame)).toBe(true);
    expect(bench.sent[0].details).toMatchObject({ checksum: 0, queue: 1 });
  });

  const TCP = partial({ ...V4, protocol: 6, ports: [1, 2], payload: 3000 });
  const GSO = { flags: 1, type: TCPV4, size: 1000, headerLength: TCP_HEADERS, start: 34, offset: 16 };
  const congested = partial({ ...V4, protocol: 6, ports: [1, 2], payload: 3000, flags: 0x90 });
  it.each<[string, SimulatedFeature[], Uint8Array, Header, RegExp]>([
    ['a flag', [], frameOf(60), { flags: 1 }, /flags is 1 in the header/],
    ['DATA_VALID', HOST_OFFLOADS, frameOf(60), { flags: 2 }, /the flag DATA_VALID/],
    ['RSC_INFO', HOST_OFFLOADS, frameOf(60), { flags: 4 }, /the flag RSC_INFO/],
    ['segmentation without any', ['VIRTIO_NET_F_CSUM'], TCP, GSO, /gso_type is 1 in the header/],
    [
      'another segmentation',
      ['VIRTIO_NET_F_CSUM', 'VIRTIO_NET_F_HOST_TSO6'],
      TCP,
      GSO,
      /TSO4 was not negotiated/,
    ],
    ['an unknown segmentation', HOST_OFFLOADS, TCP, { ...GSO, type: 2 }, /unknown gso_type 2/],
    ['no NEEDS_CSUM', HOST_OFFLOADS, TCP, { ...GSO, flags: 0 }, /without NEEDS_CSUM/],
    ['no gso_size', HOST_OFFLOADS, TCP, { ...GSO, size: 0 }, /a gso_size of 0/],
    ['TCPv6 for IPv4', HOST_OFFLOADS, TCP, { ...GSO, type: TCPV6 }, /which its frame is not for/],
    ['a wrong hdr_len', HOST_OFFLOADS, TCP, { ...GSO, headerLength: 40 }, /hdr_len is 40 .* have 54 bytes/],
    [
      'ECN for UDP',
      HOST_OFFLOADS,
      partial({ ...V4, protocol: 17, ports: [1, 2] }),
      { ...GSO, type: UDP_L4 | ECN, headerLength: 42, offset: 6 },
      /its frame is not TCP/,
    ],
    ['CWR without ECN', HOST_OFFLOADS, congested, GSO, /lacks the ECN bit/],
    [
      'ECN alone',
      ['VIRTIO_NET_F_CSUM', 'VIRTIO_NET_F_HOST_TSO4'],
      TCP,
      { ...GSO, type: TCPV4 | ECN },
      /HOST_ECN was not/,
    ],
    [
      'a checksum outside',
      HOST_OFFLOADS,
      frameOf(60),
      { flags: 1, start: 50, offset: 9 },
      /lie outside its frame of 60/,
    ],
    ['a checksum elsewhere', HOST_OFFLOADS, TCP, { ...GSO, offset: 14 }, /csum_offset of transmit .* is 14/],
    [
      'no pseudo header',
      HOST_OFFLOADS,
      ipFrame({ ...V4, protocol: 6, ports: [1, 2], payload: 30 }),
      { ...GSO, type: 0 },
      /the checksum of transmit .* is 0x0, but the sum/,
    ],
  ])('that are not allowed are found out: %s', (_name, features, frame, header, sentence) => {
    const bench = start(features);
    send(bench, frame, header);
    expectViolation(bench.device, sentence);
    expect(bench.sent).toEqual([]);
  });

  it('leave what is fine alone', () => {
    const bench = start(HOST_OFFLOADS);
    send(bench, congested, { ...GSO, type: TCPV4 | ECN });
    send(bench, frameOf(60), { flags: 1, start: 20, offset: 6 });
    expect(bench.device.violations).toEqual([]);
    expect(bench.sent.map(({ details }) => details.ecn)).toEqual([true, false]);
  });

  it('come back from the echo host as they went', () => {
    const device = createSimulatedDevice({
      features: [...BASE, ...HOST_OFFLOADS, ...GUEST_OFFLOADS, 'VIRTIO_NET_F_MRG_RXBUF'],
    });
    const bench = startAll(device, { size: 64 });
    bench.rings[0].post(...Array.from({ length: 64 }, (_, index) => index));
    const fields = { ...V4, protocol: 17, ports: [9, 7] as const, payload: 60_000, vlan: 5 };
    const frame = partial(fields);
    frame.set([0x52, 0x55, 0x0a, 0, 2, 2]);
    storeWord(frame, 28, internetChecksum(frame, 18, 38));
    send(bench, frame, { flags: 1, type: UDP_L4, size: 1000, headerLength: 46, start: 38, offset: 6 });
    const used = bench.rings[0].collect();
    const packet = used.flatMap(({ id, length }) => [...bench.rings[0].slot(id).slice(0, length)]);
    expect(used.length).toBe(30);
    expect(packet.slice(0, 12)).toEqual([1, UDP_L4, 46, 0, 0xe8, 3, 38, 0, 6, 0, 30, 0]);
    expect(packet.slice(12 + 46)).toEqual(payloadOf(frame, 46));
    expect(packet.slice(12 + 12, 12 + 16)).toEqual([0x81, 0, 0, 5]);
    expect(device.violations).toEqual([]);
  });
});

describe('offloads of what arrives', () => {
  const large = ipFrame({ ...V4, protocol: 6, ports: [1, 2], payload: 3000 });
  const received = ({ rings }: NetBench): Uint8Array[] =>
    rings[0].collect().map(({ id, length }) => rings[0].slot(id).slice(0, length));

  function ready(features: SimulatedFeature[]): NetBench {
    const bench = startAll(createSimulatedDevice({ host: null, features: withControl(...features) }), {
      size: 8,
    });
    bench.rings[0].post(0, 1, 2, 3, 4, 5, 6, 7);
    return bench;
  }

  it('are whole frames where the driver has none', () => {
    const bench = ready([]);
    expect(bench.device.injectOffload(large, { gso: TCPV4, gsoSize: 1400 })).toBe(true);
    expect(bench.device.injectOffload(large.slice(0, 1000).fill(0, 18, 20), { checksum: 1 })).toBe(true);
    const packets = received(bench);
    expect(packets.map(({ length }) => length - 12)).toEqual([1454, 1454, 254, 1000]);
    for (const packet of packets) {
      expect([...packet.slice(0, 12)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    }
    expect(packets.slice(0, 3).map((packet) => rightChecksum(packet.slice(12)))).toEqual([true, true, true]);
  });

  it('are spread over receive buffers that merge, each but the last filled', () => {
    const bench = ready([...GUEST_OFFLOADS, 'VIRTIO_NET_F_MRG_RXBUF']);
    expect(bench.device.injectOffload(large, { gso: TCPV4, gsoSize: 1400, ecn: true })).toBe(true);
    const packets = received(bench);
    expect(packets.map(({ length }) => length)).toEqual([2048, 12 + 3054 - 2048]);
    expect([...packets[0].slice(0, 12)]).toEqual([1, TCPV4 | ECN, 54, 0, 0x78, 5, 34, 0, 16, 0, 2, 0]);
    const frame = Uint8Array.from(packets.flatMap((packet) => [...packet])).slice(12);
    const packet = ipPacketOf(frame);
    expect(packet === undefined ? 0 : pseudoHeaderSum(packet, 3020)).toBe((frame[50] << 8) | frame[51]);
    expect(frame.slice(52)).toEqual(large.slice(52));
  });

  it('go into one buffer of many descriptors where they do not merge', () => {
    const bench = startAll(createSimulatedDevice({ host: null, features: [...BASE, ...GUEST_OFFLOADS] }));
    const [rx] = bench.rings;
    for (let index = 0; index < 4; index++)
      rx.describe(index, {
        address: rx.addressOfSlot(index),
        length: 1000,
        flags: index < 3 ? WRITE | NEXT : WRITE,
        next: index + 1,
      });
    rx.offer(0);
    expect(bench.device.injectOffload(large, { gso: TCPV4, gsoSize: 1400 })).toBe(true);
    expect(rx.collect()).toEqual([{ id: 0, length: 12 + 3054 }]);
    expect(rx.slot(0)[10]).toBe(1);
  });

  it('tell that a checksum was found right', () => {
    const bench = ready(['VIRTIO_NET_F_GUEST_CSUM']);
    bench.device.injectOffload(large.slice(0, 1000), { checksum: 2 });
    bench.device.inject(large.slice(0, 1000));
    expect(received(bench).map(([flags]) => flags)).toEqual([2, 0]);
    expect(bench.device.statistics.queues[0]).toMatchObject({ checksumsValid: 1, frames: 2 });
  });

  it('tell how many segments were coalesced', () => {
    const bench = ready([
      ...GUEST_OFFLOADS,
      'VIRTIO_NET_F_MRG_RXBUF',
      'VIRTIO_NET_F_CSUM',
      'VIRTIO_NET_F_HOST_TSO4',
      'VIRTIO_NET_F_RSC_EXT',
    ]);
    bench.device.injectOffload(large, { gso: TCPV4, gsoSize: 1400, duplicateAcks: 2 });
    const [packet] = received(bench);
    expect([...packet.slice(0, 12)]).toEqual([5, TCPV4, 54, 0, 0x78, 5, 3, 0, 2, 0, 2, 0]);
  });

  it('are turned off and on by the driver', () => {
    const bench = ready([...GUEST_OFFLOADS, 'VIRTIO_NET_F_MRG_RXBUF', 'VIRTIO_NET_F_CTRL_GUEST_OFFLOADS']);
    expect(ackOf(bench, 5, 0, [0, 0, 0, 0, 0, 0, 0, 0])).toBe(OK);
    bench.device.injectOffload(large, { gso: TCPV4, gsoSize: 1400 });
    expect(received(bench)).toHaveLength(3);
    expect(ackOf(bench, 5, 0, [0x82, 0, 0, 0, 0, 0, 0, 0])).toBe(OK);
    bench.device.injectOffload(large, { gso: TCPV4, gsoSize: 1400 });
    expect(received(bench).map(([, type]) => type)[0]).toBe(TCPV4);
    expect(ackOf(bench, 5, 0, [0, 0, 0, 0, 0, 0, 0, 1])).toBe(ERR);
    expectViolation(bench.device, /enables 0x100000000000000, offloads whose features were not negotiated/);
  });

  it('must be what they say', () => {
    const { device } = ready(GUEST_OFFLOADS);
    const invalid: unknown = expect.objectContaining({ code: 'OPTION_INVALID' });
    for (const offload of [
      { gso: TCPV6, gsoSize: 1 },
      { gso: TCPV4 },
      { gso: TCPV4, gsoSize: 9, checksum: 0 },
      { checksum: 1, checksumStart: 5000 },
    ])
      expect(() => device.injectOffload(large, offload)).toThrow(invalid);
    expect(() => device.injectOffload(frameOf(60), { gso: UDP_L4, gsoSize: 9 })).toThrow(invalid);
  });

  it('can be any bytes where a test wants that', () => {
    const bench = ready([]);
    expect(bench.device.injectRaw(Uint8Array.of(9, 8, 7))).toBe(true);
    expect(bench.device.injectRaw(Uint8Array.of(1), 1)).toBe(false);
    expect(bench.device.injectRaw(new Uint8Array(3000))).toBe(false);
    expect(received(bench)).toEqual([Uint8Array.of(9, 8, 7)]);
  });
});
