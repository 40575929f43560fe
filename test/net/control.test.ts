/** What can be set on a card: the commands byte by byte, what is refused, and what comes back after a reset. */
import { afterEach, describe, expect, it } from 'vitest';
import { HASH_TYPES, TUNNEL_TYPES } from '../../src/net/control/hashing.js';
import type { NetControl } from '../../src/net/control/net-control.js';
import type { FeatureName } from '../../src/net/feature-table.js';
import { ANNOUNCE, LINK_UP } from './config-device.js';
import { ControlDevice, OK, OWN_MAC, type ControlDeviceOptions } from './control-device.js';
import { withCode } from './support.js';

const ALL: readonly FeatureName[] = [
  'VIRTIO_NET_F_CTRL_VQ',
  'VIRTIO_NET_F_CTRL_RX',
  'VIRTIO_NET_F_CTRL_RX_EXTRA',
  'VIRTIO_NET_F_CTRL_VLAN',
  'VIRTIO_NET_F_CTRL_MAC_ADDR',
  'VIRTIO_NET_F_CTRL_GUEST_OFFLOADS',
  'VIRTIO_NET_F_MAC',
  'VIRTIO_NET_F_STATUS',
  'VIRTIO_NET_F_GUEST_ANNOUNCE',
  'VIRTIO_NET_F_GUEST_CSUM',
  'VIRTIO_NET_F_GUEST_TSO4',
  'VIRTIO_NET_F_GUEST_ECN',
  'VIRTIO_NET_F_MQ',
  'VIRTIO_NET_F_RSS',
  'VIRTIO_NET_F_HASH_REPORT',
  'VIRTIO_NET_F_HASH_TUNNEL',
  'VIRTIO_NET_F_NOTF_COAL',
  'VIRTIO_NET_F_VQ_NOTF_COAL',
  'VIRTIO_NET_F_DEVICE_STATS',
];
const CONFIG = {
  pairs: 8,
  hashTypes: HASH_TYPES.IPv4 | HASH_TYPES.TCPv4 | (1 << 20),
  tunnelTypes: TUNNEL_TYPES.VXLAN | TUNNEL_TYPES.IPIP | (1 << 30),
};
const KEY = Uint8Array.from({ length: 40 }, (_, index) => index);
const COALESCING = { maxPackets: 1, maxMicroseconds: 1 };
const NOTHING_DONE: number[][] = [];

const without = (...names: FeatureName[]): FeatureName[] => ALL.filter((name) => !names.includes(name));

let device: ControlDevice | undefined;
function create(options: Partial<ControlDeviceOptions> = {}): ControlDevice {
  device = new ControlDevice({ features: ALL, config: CONFIG, pairs: 4, ...options });
  return device;
}
async function start(options: Partial<ControlDeviceOptions> = {}): Promise<ControlDevice> {
  const bench = create(options);
  await bench.start();
  return bench;
}
afterEach(() => {
  device?.stop();
  device?.session.free();
  expect(device?.memory.allocatedBytes ?? 0).toBe(0);
  device = undefined;
});

type Step = (control: NetControl) => Promise<unknown>;

/** With a code and a remedy, and neither sent now nor kept for later. */
async function expectRefused(code: string, step: Step): Promise<void> {
  const bench = await start();
  const error: unknown = await step(bench.control).catch((reason: unknown) => reason);
  expect(error).toEqual(withCode(code));
  expect(bench.take()).toEqual([]);
  bench.stop();
  await bench.start();
  expect(bench.take()).toEqual([]);
}

describe('a command', () => {
  const cases: readonly (readonly [string, Step, readonly (readonly number[])[]])[] = [
    ['promiscuous on', (c) => c.setReceiveMode({ promiscuous: true }), [[0, 0, 1]]],
    ['promiscuous off', (c) => c.setReceiveMode({ promiscuous: false }), [[0, 0, 0]]],
    [
      'all receive modes',
      (c) =>
        c.setReceiveMode({
          noBroadcast: true,
          noUnicast: false,
          noMulticast: true,
          allUnicast: true,
          allMulticast: false,
        }),
      [
        [0, 1, 0],
        [0, 2, 1],
        [0, 3, 1],
        [0, 4, 0],
        [0, 5, 1],
      ],
    ],
    ['no receive mode', (c) => c.setReceiveMode({}), []],
    [
      'MAC table',
      (c) =>
        c.setMacTable({ unicast: ['02:00:00:00:00:01'], multicast: [Uint8Array.of(1, 0, 0x5e, 0, 0, 9)] }),
      [[1, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0x5e, 0, 0, 9]],
    ],
    ['empty MAC table', (c) => c.setMacTable({}), [[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]]],
    ['MAC', (c) => c.setMac('52:54:00:aa:bb:cc'), [[1, 1, 0x52, 0x54, 0, 0xaa, 0xbb, 0xcc]]],
    ['VLAN', (c) => c.addVlan(0x0abc), [[2, 0, 0xbc, 0x0a]]],
    ['VLAN 0', (c) => c.addVlan(0), [[2, 0, 0, 0]]],
    ['no VLAN', (c) => c.removeVlan(4095), [[2, 1, 0xff, 0x0f]]],
    ['announced', (c) => c.acknowledgeAnnounce(), [[3, 0]]],
    ['queue pairs', (c) => c.setQueuePairs(4), [[4, 0, 4, 0]]],
    [
      'RSS',
      (c) =>
        c.setRss({
          types: ['IPv4', 'TCPv4'],
          table: [3, 2, 1, 0],
          unclassified: 2,
          transmitPairs: 1,
          key: KEY,
        }),
      [[4, 1, 3, 0, 0, 0, 3, 0, 2, 0, 3, 0, 2, 0, 1, 0, 0, 0, 1, 0, 40, ...KEY]],
    ],
    [
      'hash',
      (c) => c.setHash({ types: ['TCPv4'], key: KEY }),
      [[4, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40, ...KEY]],
    ],
    [
      'hash nothing',
      (c) => c.setHash({ types: [], key: new Uint8Array(0) }),
      [[4, 2, ...new Array<number>(13).fill(0)]],
    ],
    [
      'offloads',
      (c) => c.setGuestOffloads(['VIRTIO_NET_F_GUEST_CSUM', 'VIRTIO_NET_F_GUEST_TSO4']),
      [[5, 0, 0x82, 0, 0, 0, 0, 0, 0, 0]],
    ],
    ['no offloads', (c) => c.setGuestOffloads([]), [[5, 0, 0, 0, 0, 0, 0, 0, 0, 0]]],
    [
      'coalescing',
      (c) =>
        c.setCoalescing({
          receive: { maxPackets: 0x01020304, maxMicroseconds: 5 },
          transmit: { maxPackets: 6, maxMicroseconds: 0xffffffff },
        }),
      [
        [6, 1, 4, 3, 2, 1, 5, 0, 0, 0],
        [6, 0, 6, 0, 0, 0, 255, 255, 255, 255],
      ],
    ],
    [
      'coalescing of one queue',
      (c) => c.setQueueCoalescing(3, 'transmit', { maxPackets: 8, maxMicroseconds: 9 }),
      [[6, 2, 7, 0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0]],
    ],
    ['tunnels', (c) => c.setHashTunnels(['VXLAN', 'IPIP']), [[7, 0, 0x90, 0, 0, 0]]],
  ];

  // Proves: net/setting-mac-address-filtering/3, net/setting-mac-address-filtering/4,
  //   net/gratuitous-packet-sending/2
  it.each(cases)('has the bytes of the specification: %s', async (_, step, expected) => {
    const bench = await start();
    await step(bench.control);
    expect(bench.take()).toEqual(expected);
  });

  it.each(cases)('that is refused is not kept: %s', async (_, step, expected) => {
    const bench = await start();
    bench.answer = () => ({ ack: 1 });
    if (expected.length === 0) return;
    await expect(step(bench.control)).rejects.toThrow(withCode('CONTROL_COMMAND_REFUSED'));
    expect([bench.control.queuePairs, bench.control.rss, bench.control.macBytes]).toEqual([
      1,
      undefined,
      bench.watch.current.mac,
    ]);
    bench.answer = () => OK;
    bench.stop();
    bench.take();
    await bench.start();
    expect(bench.take()).toEqual([]);
  });

  it.each(cases.filter(([name]) => !['announced', 'no VLAN', 'no receive mode'].includes(name)))(
    'is kept while the device is stopped, and sent when it starts: %s',
    async (_, step, expected) => {
      const bench = create();
      await step(bench.control);
      expect(bench.take()).toEqual([]);
      for (let life = 0; life < 3; life += 1) {
        expect(await bench.start()).toEqual([]);
        expect(bench.take()).toEqual(expected);
        bench.stop();
      }
    },
  );

  // Proves: net/packet-receive-filtering/1, net/packet-receive-filtering/2, net/setting-mac-address-filtering/1,
  //   net/setting-offloads-state/1, net/setting-rss-parameters/1, net/inner-header-hash/1,
  //   net/notifications-coalescing/2, net/notifications-coalescing/3
  it.each<[FeatureName, Step]>([
    ['VIRTIO_NET_F_CTRL_RX', (c) => c.setReceiveMode({ promiscuous: true })],
    ['VIRTIO_NET_F_CTRL_RX', (c) => c.setReceiveMode({ allMulticast: false })],
    ['VIRTIO_NET_F_CTRL_RX_EXTRA', (c) => c.setReceiveMode({ allUnicast: true })],
    ['VIRTIO_NET_F_CTRL_RX_EXTRA', (c) => c.setReceiveMode({ noMulticast: true })],
    ['VIRTIO_NET_F_CTRL_RX_EXTRA', (c) => c.setReceiveMode({ noUnicast: true })],
    ['VIRTIO_NET_F_CTRL_RX_EXTRA', (c) => c.setReceiveMode({ promiscuous: true, noBroadcast: true })],
    ['VIRTIO_NET_F_CTRL_RX', (c) => c.setMacTable({})],
    ['VIRTIO_NET_F_CTRL_RX', (c) => c.setMac('52:54:00:aa:bb:cc')],
    ['VIRTIO_NET_F_CTRL_MAC_ADDR', (c) => c.setMac('52:54:00:aa:bb:cc')],
    ['VIRTIO_NET_F_CTRL_VLAN', (c) => c.addVlan(1)],
    ['VIRTIO_NET_F_CTRL_VLAN', (c) => c.removeVlan(1)],
    ['VIRTIO_NET_F_GUEST_ANNOUNCE', (c) => c.acknowledgeAnnounce()],
    ['VIRTIO_NET_F_RSS', (c) => c.setRss()],
    ['VIRTIO_NET_F_HASH_REPORT', (c) => c.setHash()],
    ['VIRTIO_NET_F_HASH_TUNNEL', (c) => c.setHashTunnels([])],
    ['VIRTIO_NET_F_CTRL_GUEST_OFFLOADS', (c) => c.setGuestOffloads([])],
    ['VIRTIO_NET_F_GUEST_CSUM', (c) => c.setGuestOffloads(['VIRTIO_NET_F_GUEST_CSUM'])],
    ['VIRTIO_NET_F_NOTF_COAL', (c) => c.setCoalescing({})],
    ['VIRTIO_NET_F_VQ_NOTF_COAL', (c) => c.queueCoalescing(0, 'receive')],
    [
      'VIRTIO_NET_F_VQ_NOTF_COAL',
      (c) => c.setQueueCoalescing(0, 'receive', { maxPackets: 0, maxMicroseconds: 0 }),
    ],
    ['VIRTIO_NET_F_DEVICE_STATS', (c) => c.deviceStatistics()],
  ])('is not sent without its feature, running or not: %s, %s', async (feature, step) => {
    const bench = create({ features: without(feature) });
    for (let turn = 0; turn < 2; turn += 1) {
      await expect(step(bench.control)).rejects.toThrow(withCode('FEATURE_NOT_NEGOTIATED'));
      await expect(step(bench.control)).rejects.toThrow(feature);
      await bench.start();
      expect(bench.take()).toEqual(NOTHING_DONE);
    }
  });

  // Proves: net/automatic-receive-steering-in-multiqueue-mode/2, net/setting-rss-parameters/2,
  //   net/setting-rss-parameters/3, net/setting-rss-parameters/4, net/setting-rss-parameters/5,
  //   net/inner-header-hash/2, net/inner-header-hash/3, net/notifications-coalescing/1
  it.each<[string, string, Step]>([
    ['ADDRESS_MALFORMED', 'text', (c) => c.setMac('52:54:00:aa:bb')],
    ['ADDRESS_MALFORMED', 'multicast', (c) => c.setMac('01:54:00:aa:bb:cc')],
    ['ADDRESS_MALFORMED', 'zero', (c) => c.setMac(new Uint8Array(6))],
    ['ADDRESS_MALFORMED', 'five bytes', (c) => c.setMac(Uint8Array.of(2, 2, 3, 4, 5))],
    [
      'ADDRESS_MALFORMED',
      'multicast among unicast',
      (c) => c.setMacTable({ unicast: ['01:00:5e:00:00:01'] }),
    ],
    [
      'ADDRESS_MALFORMED',
      'unicast among multicast',
      (c) => c.setMacTable({ multicast: ['02:00:5e:00:00:01'] }),
    ],
    ['OPTION_INVALID', 'VLAN 4096', (c) => c.addVlan(4096)],
    ['OPTION_INVALID', 'VLAN -1', (c) => c.removeVlan(-1)],
    ['OPTION_INVALID', 'VLAN 1.5', (c) => c.addVlan(1.5)],
    ['OPTION_INVALID', '0 pairs', (c) => c.setQueuePairs(0)],
    ['OPTION_INVALID', 'more pairs than are open', (c) => c.setQueuePairs(5)],
    ['OPTION_INVALID', 'table of 3', (c) => c.setRss({ table: [0, 1, 2] })],
    ['OPTION_INVALID', 'empty table', (c) => c.setRss({ table: [] })],
    ['OPTION_INVALID', 'table of 256', (c) => c.setRss({ table: new Array<number>(256).fill(0) })],
    ['OPTION_INVALID', 'a pair that is not open', (c) => c.setRss({ table: [0, 4] })],
    ['OPTION_INVALID', 'unclassified to such a pair', (c) => c.setRss({ unclassified: 4 })],
    ['OPTION_INVALID', 'no pair to send', (c) => c.setRss({ transmitPairs: 0 })],
    ['OPTION_INVALID', 'hash type not supported', (c) => c.setRss({ types: ['UDPv6'] })],
    ['OPTION_INVALID', 'long key', (c) => c.setHash({ key: new Uint8Array(41) })],
    ['OPTION_INVALID', 'tunnel not supported', (c) => c.setHashTunnels(['GENEVE'])],
    ['OPTION_INVALID', 'no offload', (c) => c.setGuestOffloads(['VIRTIO_NET_F_MAC'])],
    [
      'OPTION_INVALID',
      'offload without what it needs',
      (c) => c.setGuestOffloads(['VIRTIO_NET_F_GUEST_TSO4']),
    ],
    [
      'OPTION_INVALID',
      'packets to coalesce',
      (c) => c.setCoalescing({ receive: { maxPackets: -1, maxMicroseconds: 0 } }),
    ],
    [
      'OPTION_INVALID',
      'time to coalesce',
      (c) => c.setCoalescing({ transmit: { maxPackets: 0, maxMicroseconds: 2 ** 32 } }),
    ],
    ['OPTION_INVALID', 'queue that is not open', (c) => c.queueCoalescing(4, 'receive')],
    ['OPTION_INVALID', 'direction', (c) => c.setQueueCoalescing(0, 'rx' as 'receive', COALESCING)],
    ['OPTION_INVALID', 'no key', (c) => c.setRss({ key: new Uint8Array(0) })],
    ['OPTION_INVALID', 'no key to hash with', (c) => c.setHash({ key: new Uint8Array(0) })],
    ['OPTION_INVALID', 'misspelt mode', (c) => c.setReceiveMode({ promiscous: true } as object)],
    ['OPTION_INVALID', 'mode that is a number', (c) => c.setReceiveMode({ promiscuous: 1 } as object)],
  ])('is not sent with what can not be: %s, %s', async (code, _, step) => {
    await expectRefused(code, step);
  });

  const key40 = { length: 40 };
  // What the types forbid, and programs in JavaScript give all the same.
  it.each<[string, keyof NetControl, ...unknown[]]>([
    ...([null, 'TCPv4', 5, [0, 1], { tabel: [0, 1] }] as const).map(
      (config) => ['OPTION_INVALID', 'setRss', config] as [string, 'setRss', unknown],
    ),
    ...([null, '01', 4, { length: 2 }, new Uint16Array(4), [0, undefined], new Array(2)] as const).map(
      (table) => ['OPTION_INVALID', 'setRss', { table }] as [string, 'setRss', unknown],
    ),
    ...([[0, Number.NaN], ['0', '1'], [0n], [0.5], [-1]] as const).map(
      (table) => ['OPTION_INVALID', 'setRss', { table }] as [string, 'setRss', unknown],
    ),
    ...([null, 'k'.repeat(40), new Array(40).fill(1), key40, new ArrayBuffer(40)] as const).map(
      (key) => ['OPTION_INVALID', 'setRss', { key }] as [string, 'setRss', unknown],
    ),
    ...([null, 'IPv4', 3, ['IPv5'], [undefined], ['toString'], [3]] as const).map(
      (types) => ['OPTION_INVALID', 'setRss', { types }] as [string, 'setRss', unknown],
    ),
    ['OPTION_INVALID', 'setRss', { unclassified: null }],
    ['OPTION_INVALID', 'setRss', { unclassified: Number.NaN }],
    ['OPTION_INVALID', 'setRss', { transmitPairs: '1' }],
    ['OPTION_INVALID', 'setHash', null],
    ['OPTION_INVALID', 'setHash', { hashTypes: ['IPv4'] }],
    ['OPTION_INVALID', 'setHash', { table: [0] }],
    ['OPTION_INVALID', 'setHashTunnels', undefined],
    ['OPTION_INVALID', 'setHashTunnels', 'VXLAN'],
    ['OPTION_INVALID', 'setHashTunnels', [undefined]],
    ...([undefined, null, 5, {}, { length: 6, 0: 2 }, [2, 0, 0, 0, 0, 600], new Uint16Array(6)] as const).map(
      (mac) => ['ADDRESS_MALFORMED', 'setMac', mac] as [string, 'setMac', unknown],
    ),
    ['OPTION_INVALID', 'setMacTable', undefined],
    ['OPTION_INVALID', 'setMacTable', ['02:00:00:00:00:01']],
    ['OPTION_INVALID', 'setMacTable', { unicasts: [] }],
    ['OPTION_INVALID', 'setMacTable', { unicast: '02:00:00:00:00:01' }],
    ['OPTION_INVALID', 'setMacTable', { multicast: null }],
    ['ADDRESS_MALFORMED', 'setMacTable', { unicast: [null] }],
    ['ADDRESS_MALFORMED', 'setMacTable', { unicast: ['02:00:00:00:00:01', ''] }],
    ...([undefined, null, '100', Number.NaN, 5n, Symbol('x')] as const).map(
      (id) => ['OPTION_INVALID', 'addVlan', id] as [string, 'addVlan', unknown],
    ),
    ...([undefined, null, true, 'promiscuous', ['promiscuous'], { promiscuous: null }] as const).map(
      (mode) => ['OPTION_INVALID', 'setReceiveMode', mode] as [string, 'setReceiveMode', unknown],
    ),
    ...([undefined, null, COALESCING, { rx: COALESCING }, { receive: null }, { transmit: 5 }] as const).map(
      (all) => ['OPTION_INVALID', 'setCoalescing', all] as [string, 'setCoalescing', unknown],
    ),
    ['OPTION_INVALID', 'setCoalescing', { receive: { maxPackets: 1 } }],
    ['OPTION_INVALID', 'setCoalescing', { receive: { ...COALESCING, maxUsecs: 1 } }],
    ['OPTION_INVALID', 'setQueueCoalescing', 0, 'receive'],
    ['OPTION_INVALID', 'setQueueCoalescing', 0, Symbol('x'), COALESCING],
    ['OPTION_INVALID', 'queueCoalescing', '0', 'receive'],
    ...([undefined, 'VIRTIO_NET_F_GUEST_CSUM', [null], [undefined]] as const).map(
      (names) => ['OPTION_INVALID', 'setGuestOffloads', names] as [string, 'setGuestOffloads', unknown],
    ),
    ['OPTION_INVALID', 'setQueuePairs', '2'],
    ['OPTION_INVALID', 'setQueuePairs', undefined],
  ])('is not sent with what is of another kind: %s, %s(%o, %o)', async (code, name, ...given) => {
    await expectRefused(code, (control) =>
      (control[name] as (...args: unknown[]) => Promise<unknown>).apply(control, given),
    );
  });

  it('is refused by a closed device', async () => {
    const bench = await start();
    bench.stop();
    bench.session.free();
    await expect(bench.control.setReceiveMode({ promiscuous: true })).rejects.toThrow(
      withCode('DEVICE_CLOSED'),
    );
    await expect(bench.control.setQueuePairs(1)).rejects.toThrow(withCode('DEVICE_CLOSED'));
    await expect(bench.control.setMac('52:54:00:aa:bb:cc')).rejects.toThrow(withCode('DEVICE_CLOSED'));
  });

  it('that asks for an answer needs a running device', async () => {
    const { control } = create();
    await expect(control.deviceStatistics()).rejects.toThrow(withCode('DEVICE_NOT_STARTED'));
    await expect(control.queueCoalescing(0, 'receive')).rejects.toThrow(withCode('DEVICE_NOT_STARTED'));
    await expect(control.acknowledgeAnnounce()).rejects.toThrow(withCode('DEVICE_NOT_STARTED'));
  });
});

describe('the MAC address', () => {
  it('is the one that was set last', async () => {
    const { control } = await start({ config: { ...CONFIG, mac: [2, 2, 2, 2, 2, 2] } });
    expect(control.macBytes).toEqual(Uint8Array.of(2, 2, 2, 2, 2, 2));
    await control.setMac('52:54:00:00:00:07');
    expect(control.macBytes).toEqual(Uint8Array.of(0x52, 0x54, 0, 0, 0, 7));
  });

  // Proves: net/setting-mac-address-filtering/2
  it('that the driver made up is told to the device', async () => {
    const bench = await start({ features: without('VIRTIO_NET_F_MAC') });
    expect(bench.take()).toEqual([[1, 1, ...OWN_MAC]]);
  });

  it('is not told to a device that takes none', async () => {
    const bench = await start({ features: without('VIRTIO_NET_F_MAC', 'VIRTIO_NET_F_CTRL_RX') });
    expect(bench.take()).toEqual([]);
  });

  it('is written to the configuration of a legacy device that has no command for it', async () => {
    const writes: number[][] = [];
    const overrides = {
      legacy: true,
      writeConfig: (offset: number, width: number, value: number) => void writes.push([offset, width, value]),
    };
    const bench = await start({ features: ['VIRTIO_NET_F_MAC'], overrides });
    await bench.control.setMac('52:54:00:00:00:07');
    const expected = [0x52, 0x54, 0, 0, 0, 7].map((byte, index) => [index, 1, byte]);
    expect(writes).toEqual(expected);
    bench.stop();
    await bench.start();
    expect(writes).toEqual([...expected, ...expected]);
  });
});

describe('queue pairs', () => {
  // Proves: net/automatic-receive-steering-in-multiqueue-mode/4
  it('beyond those that remain are out of use before the device is told', async () => {
    const bench = await start();
    await bench.control.setQueuePairs(4);
    const inUse: number[] = [];
    bench.answer = () => {
      inUse.push(bench.control.queuePairs);
      return OK;
    };
    await bench.control.setQueuePairs(2);
    await bench.control.setQueuePairs(3);
    expect(inUse).toEqual([2, 2]);
    expect(bench.control.queuePairs).toBe(3);
  });

  it('are one where the device has no more, without a command', async () => {
    const bench = await start({ features: without('VIRTIO_NET_F_MQ', 'VIRTIO_NET_F_RSS'), pairs: 1 });
    await bench.control.setQueuePairs(1);
    await expect(bench.control.setQueuePairs(2)).rejects.toThrow(withCode('OPTION_INVALID'));
    expect(bench.take()).toEqual([]);
  });

  it('are named in turn by a device that has only receive side scaling', async () => {
    const bench = await start({ features: without('VIRTIO_NET_F_MQ') });
    await bench.control.setQueuePairs(3);
    const [command] = bench.take();
    expect(command.slice(0, 2)).toEqual([4, 1]);
    expect(command.slice(6, 8)).toEqual([127, 0]);
    expect(command.slice(10, 20)).toEqual([0, 0, 1, 0, 2, 0, 0, 0, 1, 0]);
    expect(command.slice(10 + 256, 12 + 256)).toEqual([3, 0]);
    expect(bench.control.queuePairs).toBe(3);
  });

  it('are all in use with receive side scaling, whose defaults can be read', async () => {
    const { control } = await start();
    await control.setRss();
    expect(control.queuePairs).toBe(4);
    expect(control.rss).toMatchObject({ types: ['IPv4', 'TCPv4'], unclassified: 0, transmitPairs: 4 });
    expect(control.rss?.table).toEqual(Array.from({ length: 128 }, (_, index) => index % 4));
    expect(control.rss?.key).toHaveLength(40);
    await expect(control.setHash()).rejects.toThrow(withCode('OPTION_INVALID'));
    await control.setQueuePairs(2);
    expect(control.rss).toBeUndefined();
  });

  it('go on being hashed as it was set when their number changes', async () => {
    const bench = await start();
    await bench.control.setHash({ types: ['IPv4'], key: KEY });
    bench.take();
    await bench.control.setQueuePairs(2);
    expect(bench.take().map((command) => command.slice(0, 3))).toEqual([
      [4, 0, 2],
      [4, 2, 1],
    ]);
    await bench.control.setRss({ key: KEY });
    bench.stop();
    bench.take();
    await bench.start();
    expect(bench.take().map((command) => command.slice(0, 2))).toEqual([[4, 1]]);
  });
});

describe('the queue pairs that send', () => {
  // Proves: net/automatic-receive-steering-in-multiqueue-mode/4
  it('are never more than the command under way leaves, though several are given at once', async () => {
    const bench = await start();
    const seen: (readonly [number, number | undefined])[] = [];
    bench.answer = ({ data }) => {
      seen.push([data[0], bench.pairsUsed.at(-1)]);
      return OK;
    };
    await Promise.all([4, 1, 3, 2].map((count) => bench.control.setQueuePairs(count)));
    expect(seen).toEqual([
      [4, 1],
      [1, 1],
      [3, 1],
      [2, 2],
    ]);
    expect(bench.pairsUsed.at(-1)).toBe(2);
    expect(bench.control.queuePairs).toBe(2);
  });

  it('are those that receive side scaling names, while all receive', async () => {
    const bench = await start();
    await bench.control.setRss({ transmitPairs: 2 });
    expect(bench.pairsUsed.at(-1)).toBe(2);
    expect(bench.control.queuePairs).toBe(4);
    await bench.control.setQueuePairs(4);
    expect(bench.pairsUsed.at(-1)).toBe(4);
  });

  it('stay what they were where the device refuses', async () => {
    const bench = await start();
    await bench.control.setRss({ transmitPairs: 3 });
    bench.answer = () => ({ ack: 1 });
    await expect(bench.control.setQueuePairs(2)).rejects.toThrow(withCode('CONTROL_COMMAND_REFUSED'));
    expect(bench.pairsUsed.at(-1)).toBe(3);
    expect(bench.control.rss).toMatchObject({ transmitPairs: 3 });
  });

  it('stay reduced where the device has not answered, until it was reset', async () => {
    const bench = await start();
    await bench.control.setQueuePairs(4);
    bench.answer = () => 'silence';
    await expect(bench.control.setQueuePairs(2)).rejects.toThrow(withCode('CONTROL_TIMEOUT'));
    expect(bench.pairsUsed.at(-1)).toBe(2);
    bench.stop();
    bench.answer = () => OK;
    expect(await bench.start()).toEqual([]);
    expect(bench.pairsUsed.at(-1)).toBe(4);
    expect(bench.control.queuePairs).toBe(4);
  });

  it('are one where the device does not take the command after a reset, and as many as before when it does', async () => {
    const bench = await start();
    await bench.control.setRss({ transmitPairs: 3 });
    bench.stop();
    bench.answer = () => 'silence';
    expect(await bench.start()).toEqual(['receive side scaling']);
    expect([bench.pairsUsed.at(-1), bench.control.queuePairs, bench.control.rss]).toEqual([1, 1, undefined]);
    bench.stop();
    bench.answer = () => OK;
    expect(await bench.start()).toEqual([]);
    expect([bench.pairsUsed.at(-1), bench.control.queuePairs]).toEqual([3, 4]);
    expect(bench.control.rss).toMatchObject({ transmitPairs: 3 });
  });

  it('are as the device has them where only the hash is refused that was set with another number', async () => {
    const bench = await start();
    await bench.control.setHash({ types: ['IPv4'], key: KEY });
    bench.answer = ({ command }) => ({ ack: command === 2 ? 1 : 0 });
    await expect(bench.control.setQueuePairs(3)).rejects.toThrow(withCode('CONTROL_COMMAND_REFUSED'));
    expect(bench.pairsUsed.at(-1)).toBe(3);
    bench.stop();
    bench.take();
    expect(await bench.start()).toEqual(['hash']);
    expect(bench.take().map((command) => command.slice(0, 3))).toEqual([
      [4, 0, 3],
      [4, 2, 1],
    ]);
    expect(bench.pairsUsed.at(-1)).toBe(3);
  });
});

describe('coalescing', () => {
  it('of one queue is read back', async () => {
    const bench = await start();
    bench.answer = () => ({ ack: 0, filled: [1, 2, 0, 0, 3, 4, 0, 0] });
    expect(await bench.control.queueCoalescing(1, 'receive')).toEqual({
      maxPackets: 0x201,
      maxMicroseconds: 0x403,
    });
    expect(bench.take()).toEqual([[6, 3, 2, 0, 0, 0]]);
  });

  // Proves: net/notifications-coalescing/4
  it('is not believed if the device refuses', async () => {
    const bench = await start();
    bench.answer = () => ({ ack: 1, filled: [1, 2, 0, 0, 3, 4, 0, 0] });
    await expect(bench.control.queueCoalescing(1, 'receive')).rejects.toThrow(
      withCode('CONTROL_COMMAND_REFUSED'),
    );
  });

  it('of all queues ends that of single ones', async () => {
    const bench = await start();
    const some = { maxPackets: 1, maxMicroseconds: 1 };
    await bench.control.setQueueCoalescing(0, 'receive', some);
    await bench.control.setQueueCoalescing(0, 'transmit', some);
    await bench.control.setCoalescing({ receive: some });
    bench.stop();
    bench.take();
    await bench.start();
    expect(bench.take().map((command) => command.slice(0, 3))).toEqual([
      [6, 2, 1],
      [6, 1, 1],
    ]);
  });

  it('is set again for a queue that alone was reset', async () => {
    const bench = await start();
    await bench.control.setQueueCoalescing(1, 'transmit', { maxPackets: 1, maxMicroseconds: 1 });
    bench.take();
    expect(await bench.session.restoreQueue({ queuePair: 1, direction: 'receive' })).toEqual([]);
    expect(bench.take()).toEqual([]);
    expect(await bench.session.restoreQueue({ queuePair: 1, direction: 'transmit' })).toEqual([]);
    expect(bench.take()).toEqual([[6, 2, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]]);
    bench.answer = () => ({ ack: 1 });
    const lost = await bench.session.restoreQueue({ queuePair: 1, direction: 'transmit' });
    expect(lost.map(({ setting }) => setting)).toEqual(['coalescing of queue 3']);
  });
});

describe('settings after a reset', () => {
  it('are those that were made last, in the order in which they were made', async () => {
    const bench = await start();
    const { control } = bench;
    await control.setReceiveMode({ promiscuous: true });
    await control.addVlan(1);
    await control.addVlan(2);
    await control.setMac('52:54:00:00:00:01');
    await control.removeVlan(1);
    await control.setReceiveMode({ promiscuous: false });
    bench.stop();
    bench.take();
    expect(await bench.start()).toEqual([]);
    expect(bench.take()).toEqual([
      [2, 0, 2, 0],
      [1, 1, 0x52, 0x54, 0, 0, 0, 1],
      [0, 0, 0],
    ]);
  });

  it('that the device refuses are named, and forgotten; the others are set', async () => {
    const bench = await start();
    await bench.control.setReceiveMode({ promiscuous: true });
    await bench.control.addVlan(1);
    await bench.control.addVlan(2);
    bench.stop();
    bench.take();
    bench.answer = ({ data }) => (data.join() === '1,0' ? { ack: 1 } : OK);
    expect(await bench.start()).toEqual(['VLAN 1']);
    expect(bench.take()).toHaveLength(3);
    bench.stop();
    expect(await bench.start()).toEqual([]);
    expect(bench.take()).toHaveLength(2);
  });

  it('that a silent device did not take are kept for the next time', async () => {
    const bench = await start();
    await bench.control.addVlan(1);
    await bench.control.addVlan(2);
    bench.stop();
    bench.answer = () => 'silence';
    expect(await bench.start()).toEqual(['VLAN 1', 'VLAN 2']);
    bench.stop();
    bench.answer = () => OK;
    bench.take();
    expect(await bench.start()).toEqual([]);
    expect(bench.take()).toHaveLength(2);
  });

  it('include one that is made while they are being set', async () => {
    const bench = await start();
    await bench.control.setMac('52:54:00:00:00:01');
    bench.stop();
    bench.take();
    const started = bench.start();
    await bench.control.setMac('52:54:00:00:00:02');
    await started;
    expect(bench.take().map((command) => command.at(-1))).toEqual([1, 2]);
  });
});

describe('an announcement', () => {
  it('is over when the device was told, which may ask again at once', async () => {
    const bench = await start({ config: { ...CONFIG, status: LINK_UP | ANNOUNCE } });
    bench.watch.tell(bench.watch.current);
    expect(bench.announcements).toBe(1);
    bench.config.set({ status: LINK_UP | ANNOUNCE });
    await bench.control.acknowledgeAnnounce();
    expect(bench.announcements).toBe(2);
    bench.answer = () => {
      bench.config.set({ status: LINK_UP });
      return OK;
    };
    await bench.control.acknowledgeAnnounce();
    expect(bench.announcements).toBe(2);
  });
});
