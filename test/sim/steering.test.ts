import { describe, expect, it } from 'vitest';
import { createSimulatedDevice, type SimulatedDeviceOptions } from '../../src/sim/index.js';
import { expectViolation, type Ring } from './support.js';
import { ERR, OK, ackOf, ipFrame, le16, le32, startAll, withControl, type NetBench } from './net-bench.js';

const MQ = 4;
const KEY = Array.from({ length: 40 }, (_, index) => (index * 11 + 3) & 0xff);
const GUEST = [10, 0, 2, 15];
const HOST = [10, 0, 2, 2];

function start(more: SimulatedDeviceOptions = {}, features = withControl('VIRTIO_NET_F_MQ')): NetBench {
  const bench = startAll(
    createSimulatedDevice({ host: null, isolation: true, features, maxQueuePairs: 4, ...more }),
    { size: 64 },
  );
  for (let pair = 0; 2 * pair + 1 < bench.rings.length; pair++) {
    const ring = bench.rings[2 * pair];
    ring.post(...Array.from({ length: 64 }, (_, index) => index));
    ring.notify();
  }
  return bench;
}

const incoming = (port: number, protocol = 17): Uint8Array =>
  ipFrame({ source: HOST, destination: GUEST, protocol, ports: [7, port] });
const outgoing = (port: number): Uint8Array =>
  ipFrame({ source: GUEST, destination: HOST, protocol: 17, ports: [port, 7] });

/** How many frames each pair has got since the last call. */
const counts = ({ rings }: NetBench): number[] =>
  rings
    .filter((_, index) => index % 2 === 0 && index + 1 < rings.length)
    .map((ring) => ring.collect().length);

/** The data of VIRTIO_NET_CTRL_MQ_RSS_CONFIG. */
function rssConfig(
  table: number[],
  { types = 0x1ff, unclassified = 0, pairs = 4, key = KEY } = {},
): number[] {
  return [...le32(types), ...le16(table.length - 1, unclassified, ...table, pairs), key.length, ...key];
}

describe('automatic receive steering', () => {
  it('uses the first pair until it is told of more', () => {
    const bench = start();
    for (let port = 1; port <= 8; port++) expect(bench.device.inject(incoming(port))).toBe(true);
    expect(counts(bench)).toEqual([8, 0, 0, 0]);
    expect(ackOf(bench, MQ, 0, le16(4))).toBe(OK);
    for (let port = 1; port <= 32; port++) bench.device.inject(incoming(port));
    expect(counts(bench).filter((count) => count > 0)).toHaveLength(4);
    expect(ackOf(bench, MQ, 0, le16(1))).toBe(OK);
    for (let port = 1; port <= 8; port++) bench.device.inject(incoming(port));
    expect(counts(bench)).toEqual([8, 0, 0, 0]);
  });

  it('brings a flow back to the pair that it was sent by', () => {
    const bench = start();
    expect(ackOf(bench, MQ, 0, le16(4))).toBe(OK);
    for (let port = 0; port < 12; port++)
      bench.rings[2 * (port % 4) + 1].send(Math.floor(port / 4), outgoing(port));
    for (let port = 0; port < 12; port += 4) bench.device.inject(incoming(port + 2));
    expect(counts(bench)).toEqual([0, 0, 3, 0]);
    expect(bench.device.statistics.queues.map(({ frames }) => frames)).toEqual([0, 3, 0, 3, 3, 3, 0, 3, 0]);
    expect(bench.device.violations).toEqual([]);
  });

  it('takes another queue while that of the flow is reset', async () => {
    const bench = start({}, withControl('VIRTIO_NET_F_MQ', 'VIRTIO_F_RING_RESET'));
    expect(ackOf(bench, MQ, 0, le16(2))).toBe(OK);
    bench.rings[3].send(0, outgoing(5));
    await bench.transport.resetQueue(2, 1000);
    expect(bench.device.inject(incoming(5))).toBe(true);
    expect(bench.rings[0].collect()).toHaveLength(1);
  });

  it.each([
    ['no pairs', 0, /asks for 0 pairs, not 1 to 4/],
    ['more than there are', 5, /asks for 5 pairs, not 1 to 4/],
  ])('finds out a driver that asks for %s', (_name, pairs, sentence) => {
    const bench = start();
    expect(ackOf(bench, MQ, 0, le16(pairs))).toBe(ERR);
    expectViolation(bench.device, sentence);
  });

  it('finds out a driver that asks for pairs whose queues are not enabled', async () => {
    const bench = start({}, withControl('VIRTIO_NET_F_MQ', 'VIRTIO_F_RING_RESET'));
    await bench.transport.resetQueue(7, 1000);
    expect(ackOf(bench, MQ, 0, le16(4))).toBe(ERR);
    expectViolation(bench.device, /asks for 4 pairs, but queue 7 is not enabled/);
  });

  it('finds out a driver that sends by a pair that is not in use', () => {
    const bench = start();
    bench.rings[3].send(0, outgoing(1));
    expectViolation(bench.device, /^queue 3: it was used, but 1 pairs of queues are in use/);
  });
});

describe('receive-side scaling', () => {
  const FEATURES = withControl('VIRTIO_NET_F_RSS', 'VIRTIO_NET_F_HASH_REPORT');
  /** The header has 20 bytes with the hash; this is its end. */
  const reported = (ring: Ring, slot: number): number[] => [...ring.slot(slot).slice(12, 20)];

  it('takes the queue that the table has for the hash, and reports the hash', () => {
    const bench = start({}, FEATURES);
    expect(ackOf(bench, MQ, 1, rssConfig([3, 3, 3, 3]))).toBe(OK);
    expect(bench.device.inject(incoming(9))).toBe(true);
    expect(counts(bench)).toEqual([0, 0, 0, 1]);
    const [a, b, c, d, report, ...rest] = reported(bench.rings[6], 0);
    expect(report).toBe(3);
    expect(rest).toEqual([0, 0, 0]);
    const hash = (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;

    const table = [0, 1, 2, 3];
    expect(ackOf(bench, MQ, 1, rssConfig(table))).toBe(OK);
    bench.device.inject(incoming(9));
    expect(counts(bench)).toEqual(table.map((pair) => (pair === (hash & 3) ? 1 : 0)));
    expect(bench.device.violations).toEqual([]);
  });

  it('brings what has no hash to the queue for that', () => {
    const bench = start({}, FEATURES);
    expect(ackOf(bench, MQ, 1, rssConfig([1, 1], { unclassified: 2 }))).toBe(OK);
    bench.device.inject(incoming(9).fill(0, 12, 14));
    expect(counts(bench)).toEqual([0, 0, 1, 0]);
    expect(reported(bench.rings[4], 0)).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  });

  it('drops what is for a queue that is reset', async () => {
    const bench = start({}, withControl('VIRTIO_NET_F_RSS', 'VIRTIO_F_RING_RESET'));
    expect(ackOf(bench, MQ, 1, rssConfig([1]))).toBe(OK);
    await bench.transport.resetQueue(2, 1000);
    expect(bench.device.inject(incoming(5))).toBe(false);
    expect(bench.device.statistics.dropsNotReady).toBe(1);
  });

  it('lets the driver send by as many queues as it said', () => {
    const bench = start({}, FEATURES);
    expect(ackOf(bench, MQ, 1, rssConfig([0], { pairs: 2 }))).toBe(OK);
    bench.rings[5].put(0, outgoing(1));
    bench.rings[5].notify();
    expect(bench.device.violations).toHaveLength(1);
  });

  it.each<[string, number[], RegExp]>([
    ['a table of 3', rssConfig([0, 1, 2]), /a table of 3, not a power of two/],
    ['too long a table', rssConfig(Array.from({ length: 256 }, () => 0)), /has room for 128/],
    ['a queue that is not there', rssConfig([4]), /names receive queue 8, which is not enabled/],
    ['a reserved bit', rssConfig([0x8000]), /whose reserved bit is set/],
    ['unknown hash types', rssConfig([0], { types: 0x8000 }), /the hash types 0x8000/],
  ])('finds out a driver that asks for %s', (_name, data, sentence) => {
    const bench = start({}, FEATURES);
    expect(ackOf(bench, MQ, 1, data)).toBe(ERR);
    expectViolation(bench.device, sentence);
  });

  it.each<[string, number[]]>([
    ['too long a key', rssConfig([0], { key: [...KEY, 1] })],
    ['data that is cut short', rssConfig([0]).slice(0, -1)],
    ['data that is too long', [...rssConfig([0]), 0]],
    ['no transmit queues', rssConfig([0], { pairs: 0 })],
    ['hardly any data', [1, 2, 3]],
  ])('refuses %s', (_name, data) => {
    const bench = start({}, FEATURES);
    expect(ackOf(bench, MQ, 1, data)).toBe(ERR);
    expect(bench.device.violations).toEqual([]);
  });
});

describe('hashes without receive-side scaling', () => {
  const FEATURES = withControl('VIRTIO_NET_F_HASH_REPORT', 'VIRTIO_NET_F_HASH_TUNNEL');
  const config = (types: number, reserved = 0): number[] => [
    ...le32(types),
    ...le16(0, 0, 0, reserved),
    KEY.length,
    ...KEY,
  ];

  it('are reported once they are configured', () => {
    const bench = start({}, FEATURES);
    bench.device.inject(incoming(9));
    expect(ackOf(bench, MQ, 2, config(1))).toBe(OK);
    bench.device.inject(incoming(9));
    expect([0, 1].map((slot) => bench.rings[0].slot(slot)[16])).toEqual([0, 1]);
    expect(ackOf(bench, 7, 0, le32(0x1ff))).toBe(OK);
    expect(bench.device.violations).toEqual([]);
  });

  it.each<[string, [number, number, number[]], RegExp]>([
    ['sets a reserved field', [MQ, 2, config(1, 1)], /reserved fields that are not 0/],
    ['asks for unknown tunnels', [7, 0, le32(0x200)], /enables 0x200, which the device does not support/],
  ])('find out a driver that %s', (_name, issued, sentence) => {
    const bench = start({}, FEATURES);
    expect(ackOf(bench, ...issued)).toBe(ERR);
    expectViolation(bench.device, sentence);
  });
});
