import { describe, expect, it } from 'vitest';
import { createSimulatedDevice, type ControlCommand } from '../../src/sim/index.js';
import { NEEDS_RESET, NEXT, expectViolation, recorder, turn } from './support.js';
import {
  ERR,
  OK,
  ackOf,
  command,
  frameTo,
  le16,
  le32,
  startAll,
  withControl,
  type NetBench,
} from './net-bench.js';

const OWN = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const OTHER = [0x52, 0x54, 0, 0, 0, 7];
const GROUP = [1, 0, 0x5e, 0, 0, 1];
const OTHER_GROUP = [1, 0, 0x5e, 0, 0, 2];
const BROADCAST = [255, 255, 255, 255, 255, 255];
const [RX_MODE, MAC, VLAN, ANNOUNCE, MQ, OFFLOADS, COALESCING] = [0, 1, 2, 3, 4, 5, 6];

const FILTERS = withControl(
  'VIRTIO_NET_F_CTRL_RX',
  'VIRTIO_NET_F_CTRL_RX_EXTRA',
  'VIRTIO_NET_F_CTRL_VLAN',
  'VIRTIO_NET_F_CTRL_MAC_ADDR',
  'VIRTIO_NET_F_GUEST_ANNOUNCE',
);

function start(features = FILTERS, more: Parameters<typeof createSimulatedDevice>[0] = {}): NetBench {
  const bench = startAll(createSimulatedDevice({ host: null, isolation: true, features, ...more }));
  bench.rings[0].post(0, 1, 2, 3, 4, 5, 6, 7);
  bench.rings[0].notify();
  return bench;
}

const reaches = ({ device }: NetBench, destination: number[], vlan?: number): boolean =>
  device.inject(frameTo(destination, vlan));

describe('the control queue', () => {
  it('lies behind all pairs, or in the place of the second where there is one pair only', () => {
    const device = createSimulatedDevice({
      features: withControl('VIRTIO_NET_F_MQ'),
      maxQueuePairs: 3,
      queueSize: [256, 256, 128, 128, 128, 128, 64],
    });
    expect(device.transport.queueCount).toBe(7);
    expect([0, 1, 2, 6, 7].map((queue) => device.transport.maxQueueSize(queue))).toEqual([
      256, 256, 128, 64, 0,
    ]);
    expect(ackOf(startAll(device), MQ, 0, le16(3))).toBe(OK);
    expect(device.violations).toEqual([]);

    expect(ackOf(start(), RX_MODE, 0, [1])).toBe(OK);
  });

  it('has its place by what was negotiated, not by what was offered', () => {
    const device = createSimulatedDevice({ features: withControl('VIRTIO_NET_F_MQ'), maxQueuePairs: 2 });
    const { transport } = device;
    const offered = transport.readDeviceFeatures();
    Object.defineProperty(transport, 'readDeviceFeatures', { value: () => offered & ~(1n << 22n) });
    Object.defineProperty(transport, 'queueCount', { value: 3 });
    const bench = startAll(device);
    expect(ackOf(bench, 200, 0)).toBe(ERR);
    expect(device.violations).toEqual([]);
  });

  it('drops the frames that are for others from the start', () => {
    const bench = start();
    expect(reaches(bench, OWN)).toBe(true);
    expect(reaches(bench, BROADCAST)).toBe(true);
    expect(reaches(bench, OTHER)).toBe(false);
    expect(reaches(bench, GROUP)).toBe(false);
    expect(bench.device.statistics).toMatchObject({ dropsFiltered: 2, receivedFrames: 2 });
  });

  it('sets each receive mode', () => {
    const bench = start();
    const outcome = (): boolean[] => [OWN, OTHER, GROUP, BROADCAST].map((mac) => reaches(bench, mac));
    const set = (mode: number, on: number): void => expect(ackOf(bench, RX_MODE, mode, [on])).toBe(OK);
    set(1, 1);
    expect(outcome()).toEqual([true, false, true, true]);
    set(2, 1);
    expect(outcome()).toEqual([true, true, true, true]);
    set(3, 1);
    const device = bench.device;
    expect(reaches(bench, GROUP)).toBe(false);
    set(4, 1);
    expect([OWN, OTHER].map((mac) => reaches(bench, mac))).toEqual([false, false]);
    set(5, 1);
    expect(reaches(bench, BROADCAST)).toBe(false);
    expect(device.statistics.dropsNoBuffer).toBe(0);
    set(0, 1);
    bench.rings[0].post(...bench.rings[0].collect().map(({ id }) => id));
    expect(outcome()).toEqual([true, true, true, true]);
    expect(device.violations).toEqual([]);
  });

  it('is promiscuous until told otherwise, if made so', () => {
    const bench = start(FILTERS, { promiscuous: true });
    expect(reaches(bench, OTHER)).toBe(true);
    expect(ackOf(bench, RX_MODE, 0, [0])).toBe(OK);
    expect(reaches(bench, OTHER)).toBe(false);
  });

  it('takes a table of addresses', () => {
    const bench = start();
    const table = [...le32(1), ...OTHER, ...le32(1), ...GROUP];
    expect(ackOf(bench, MAC, 0, table)).toBe(OK);
    expect([OTHER, GROUP, OTHER_GROUP].map((mac) => reaches(bench, mac))).toEqual([true, true, false]);
    expect(ackOf(bench, MAC, 0, le32(0, 0))).toBe(OK);
    expect([OWN, OTHER, GROUP].map((mac) => reaches(bench, mac))).toEqual([true, false, false]);
  });

  it('changes its address until the next reset', () => {
    const bench = start();
    const { transport } = bench;
    const generation = transport.readConfigGeneration();
    expect(ackOf(bench, MAC, 1, OTHER)).toBe(OK);
    expect(transport.readConfigGeneration()).not.toBe(generation);
    expect([0, 1, 2, 3, 4, 5].map((at) => transport.readConfig(at, 1))).toEqual(OTHER);
    expect([OWN, OTHER].map((mac) => reaches(bench, mac))).toEqual([false, true]);
    expect(ackOf(bench, MAC, 1, GROUP)).toBe(ERR);
    transport.writeStatus(0);
    expect(transport.readConfig(5, 1)).toBe(0x56);
  });

  it('drops the VLANs that were not added', () => {
    const bench = start();
    expect(reaches(bench, OWN, 7)).toBe(false);
    expect(ackOf(bench, VLAN, 0, le16(7))).toBe(OK);
    expect([7, 8].map((id) => reaches(bench, OWN, id))).toEqual([true, false]);
    expect(reaches(bench, OWN, 0xf007)).toBe(true);
    expect(ackOf(bench, VLAN, 1, le16(7))).toBe(OK);
    expect(reaches(bench, OWN, 7)).toBe(false);
    expect(ackOf(bench, VLAN, 0, le16(4096))).toBe(ERR);
    expect(bench.device.violations).toEqual([]);
  });

  it('takes all VLANs where their filter was not negotiated', () => {
    expect(reaches(start(withControl('VIRTIO_NET_F_CTRL_RX')), OWN, 7)).toBe(true);
  });

  it('asks to be announced until that is acknowledged', async () => {
    const { calls, handlers } = recorder();
    const device = createSimulatedDevice({ host: null, features: FILTERS });
    const bench = startAll(device, { handlers });
    device.announce();
    await turn();
    expect(calls).toEqual(['config']);
    expect(device.transport.readConfig(6, 2)).toBe(3);
    expect(ackOf(bench, ANNOUNCE, 0)).toBe(OK);
    expect(device.transport.readConfig(6, 2)).toBe(1);
    bench.transport.disableInterrupts();
  });

  it('refuses what it does not know, and data of a wrong length', () => {
    const bench = start();
    const malformed: [number, number, number[]][] = [
      [99, 0, []],
      [RX_MODE, 6, [1]],
      [RX_MODE, 0, []],
      [RX_MODE, 0, [2]],
      [MAC, 1, OWN.slice(1)],
      [VLAN, 0, [7]],
      [ANNOUNCE, 0, [0]],
    ];
    for (const each of malformed) expect(ackOf(bench, ...each), each.join()).toBe(ERR);
    expect(bench.device.violations).toEqual([]);
  });

  it('leaves a command to whoever listens for it', () => {
    const bench = start();
    const seen: ControlCommand[] = [];
    const stop = bench.device.onCommand((each) => {
      seen.push(each);
      return 'refuse';
    });
    expect(ackOf(bench, VLAN, 0, le16(7))).toBe(ERR);
    stop();
    expect(seen).toEqual([
      { name: 'VIRTIO_NET_CTRL_VLAN_ADD', class: 2, command: 0, data: Uint8Array.from(le16(7)) },
    ]);
    expect(reaches(bench, OWN, 7)).toBe(false);
    bench.device.onCommand(() => 'silence');
    bench.control.slot(0).set([VLAN, 0, 7, 0]);
    bench.control.describe(0, { address: bench.control.addressOfSlot(0), length: 4, flags: NEXT, next: 1 });
    bench.control.offer(0);
    bench.control.notify();
    expect(bench.control.collect()).toEqual([]);
    expect(bench.device.violations).toEqual([]);
  });
});

describe('a driver that misuses the control queue is found out:', () => {
  const cases: [string, [number, number, number[]], RegExp][] = [
    [
      'a feature not negotiated',
      [OFFLOADS, 0, [0, 0, 0, 0, 0, 0, 0, 0]],
      /CTRL_GUEST_OFFLOADS was not negotiated/,
    ],
    ['a table that is cut short', [MAC, 0, [...le32(2), ...OTHER]], /too few for a table of 2/],
    ['no second table', [MAC, 0, le32(0)], /too few for its two tables/],
    ['bytes behind the tables', [MAC, 0, [...le32(0, 0), 1]], /its tables end at 8/],
    [
      'a group among the unicast ones',
      [MAC, 0, [...le32(1), ...GROUP, ...le32(0)]],
      /01:00:5e:00:00:01 in the wrong/,
    ],
    ['a single one among the groups', [MAC, 0, [...le32(0, 1), ...OTHER]], /in the wrong one of its tables/],
    ['coalescing not negotiated', [COALESCING, 0, le32(1, 1)], /VIRTIO_NET_F_NOTF_COAL was not negotiated/],
  ];

  it.each(cases)('%s', (_name, issued, sentence) => {
    const bench = start();
    expect(ackOf(bench, ...issued)).toBe(ERR);
    expectViolation(bench.device, sentence);
    expect(bench.transport.readStatus() & NEEDS_RESET).toBe(NEEDS_RESET);
  });

  it('a command without a byte for the answer', () => {
    const bench = start();
    bench.control.describe(0, { address: bench.control.addressOfSlot(0), length: 3 });
    bench.control.offer(0);
    bench.control.notify();
    expectViolation(bench.device, /^queue 2: the command of descriptor 0 has 3 bytes to read and 0 to write/);
  });

  it('an answer that has room for more than the ack alone is no fault', () => {
    expect(command(start(), RX_MODE, 0, [1], 9)).toEqual(Uint8Array.of(OK));
  });
});
