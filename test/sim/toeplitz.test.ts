import { describe, expect, it } from 'vitest';
import { hashFrame, HASH_TYPE } from '../../src/sim/net/hashing.js';
import { toeplitzHash } from '../../src/sim/net/toeplitz.js';
import { TUNNEL_TYPE } from '../../src/sim/net/tunnel.js';
import { parseIpv4 } from '../../src/packet/index.js';
import { ipFrame } from './net-bench.js';

/** The key and the results are those of "Verifying the RSS hash calculation", which defines the hash. */
const KEY = Uint8Array.from(
  '6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa'
    .match(/../g)
    ?.map((byte) => parseInt(byte, 16)) ?? [],
);

const v4 = (text: string): number[] => [...parseIpv4(text)];
const v6 = (text: string): number[] => {
  const [front, back = ''] = text.split('::');
  const words = (part: string): number[] =>
    part === ''
      ? []
      : part.split(':').flatMap((group) => [parseInt(group, 16) >> 8, parseInt(group, 16) & 0xff]);
  const [left, right] = [words(front), words(back)];
  return [...left, ...Array.from({ length: 16 - left.length - right.length }, () => 0), ...right];
};

const V4: [string, number, string, number, number, number][] = [
  ['66.9.149.187', 2794, '161.142.100.80', 1766, 0x323e8fc2, 0x51ccc178],
  ['199.92.111.2', 14230, '65.69.140.83', 4739, 0xd718262a, 0xc626b0ea],
  ['24.19.198.95', 12898, '12.22.207.184', 38024, 0xd2d0a5de, 0x5c2b394a],
  ['38.27.205.30', 48228, '209.142.163.6', 2217, 0x82989176, 0xafc7327f],
  ['153.39.163.191', 44251, '202.188.127.2', 1303, 0x5d1809c5, 0x10e828a2],
];

const V6: [string, number, string, number, number, number][] = [
  ['3ffe:2501:200:1fff::7', 2794, '3ffe:2501:200:3::1', 1766, 0x2cc18cd5, 0x40207d3d],
  ['3ffe:501:8::260:97ff:fe40:efab', 14230, 'ff02::1', 4739, 0x0f0c461c, 0xdde51bbf],
  ['3ffe:1900:4545:3:200:f8ff:fe21:67cf', 44251, 'fe80::200:f8ff:fe21:67cf', 38024, 0x4b61e985, 0x02d1feef],
];

describe('the Toeplitz hash', () => {
  it.each([...V4, ...V6])(
    'of %s:%i to %s:%i is the known one',
    (from, fromPort, to, toPort, alone, withPorts) => {
      const address = from.includes(':') ? v6 : v4;
      const fields = { source: address(from), destination: address(to), ports: [fromPort, toPort] as const };
      const isV4 = !from.includes(':');
      const [ip, tcp, udp] = isV4
        ? [HASH_TYPE.IPv4, HASH_TYPE.TCPv4, HASH_TYPE.UDPv4]
        : [HASH_TYPE.IPv6, HASH_TYPE.TCPv6, HASH_TYPE.UDPv6];
      const hash = (protocol: number, types: number): unknown =>
        hashFrame(ipFrame({ ...fields, protocol }), { types, key: KEY, tunnelTypes: 0 });
      expect(toeplitzHash(KEY, Uint8Array.from([...fields.source, ...fields.destination]))).toBe(alone);
      expect(hash(6, ip | tcp | udp)).toEqual({ value: withPorts, report: isV4 ? 2 : 5 });
      expect(hash(17, ip | udp)).toEqual({ value: withPorts, report: isV4 ? 3 : 6 });
      expect(hash(17, ip | tcp)).toEqual({ value: alone, report: isV4 ? 1 : 4 });
      expect(hash(6, 0)).toBeUndefined();
    },
  );

  it('takes a key that is too short as one that goes on with zeros', () => {
    const input = Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(toeplitzHash(KEY.slice(0, 5), input)).toBe(
      toeplitzHash(Uint8Array.from([...KEY.slice(0, 5), 0, 0, 0, 0, 0, 0, 0]), input),
    );
    expect(toeplitzHash(new Uint8Array(0), input)).toBe(0);
  });
});

describe('the hash of a frame', () => {
  const settings = { types: 0x1ff, key: KEY, tunnelTypes: 0 };
  const tcp = ipFrame({ source: v4('10.0.0.1'), destination: v4('10.0.0.2'), protocol: 6, ports: [1, 2] });
  const inner = tcp.slice(14);

  it('does not depend on VLAN tags', () => {
    const tagged = ipFrame({
      source: v4('10.0.0.1'),
      destination: v4('10.0.0.2'),
      protocol: 6,
      ports: [1, 2],
      vlan: 9,
    });
    expect(hashFrame(tagged, settings)).toEqual(hashFrame(tcp, settings));
  });

  it('of a fragment is that of the addresses', () => {
    const fragment = tcp.slice();
    fragment[20] = 0x20;
    expect(hashFrame(fragment, settings)?.report).toBe(1);
  });

  it('of anything else is none', () => {
    expect(hashFrame(new Uint8Array(60), settings)).toBeUndefined();
    for (let length = 14; length < tcp.length; length++)
      expect(hashFrame(tcp.slice(0, length), settings), String(length)).toBeUndefined();
  });

  it('of IPv6 with extension headers is over the home address and the routing header', () => {
    const source = v6('3ffe:2501:200:1fff::7');
    const destination = v6('3ffe:2501:200:3::1');
    const plain = ipFrame({ source, destination, protocol: 6, ports: [2794, 1766] });
    const home = [...source].reverse();
    const routed = [...destination].reverse();
    const options = [43, 2, 1, 2, 0, 0, 0xc9, 16, ...home];
    const routing = [6, 2, 2, 1, 0, 0, 0, 0, ...routed];
    const extended = Uint8Array.from([...plain.slice(0, 54), ...options, ...routing, ...plain.slice(54)]);
    extended[20] = 60;
    extended[19] = 20 + options.length + routing.length;
    const ports = [0x0a, 0xea, 0x06, 0xe6];
    const hash = (types: number): unknown => hashFrame(extended, { ...settings, types });
    expect(hash(0x1ff)).toEqual({
      value: toeplitzHash(KEY, Uint8Array.from([...home, ...routed, ...ports])),
      report: 8,
    });
    expect(hash(HASH_TYPE.IP_EX)).toEqual({
      value: toeplitzHash(KEY, Uint8Array.from([...home, ...routed])),
      report: 7,
    });
    expect(hash(HASH_TYPE.TCPv6)).toEqual({ value: 0x40207d3d, report: 5 });
  });

  it.each([
    ['IPIP', TUNNEL_TYPE.IPIP, 4, []],
    ['GRE', TUNNEL_TYPE.GRE_2784, 47, [0, 0, 8, 0]],
    ['GRE with a key', TUNNEL_TYPE.GRE_2890, 47, [0x20, 0, 8, 0, 0, 0, 0, 1]],
    ['NVGRE', TUNNEL_TYPE.NVGRE, 47, [0x20, 0, 0x65, 0x58, 0, 0, 0, 1, ...tcp.slice(0, 14)]],
    [
      'VXLAN',
      TUNNEL_TYPE.VXLAN,
      17,
      [0, 9, 0x12, 0xb5, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 1, 0, ...tcp.slice(0, 14)],
    ],
    ['VXLAN-GPE', TUNNEL_TYPE.VXLAN_GPE, 17, [0, 9, 0x12, 0xb6, 0, 0, 0, 0, 12, 0, 0, 1, 0, 0, 1, 0]],
    ['Geneve', TUNNEL_TYPE.GENEVE, 17, [0, 9, 0x17, 0xc1, 0, 0, 0, 0, 1, 0, 8, 0, 0, 0, 1, 0, 1, 2, 3, 4]],
    ['GRE in UDP', TUNNEL_TYPE.GRE_UDP, 17, [0, 9, 0x12, 0x92, 0, 0, 0, 0, 0, 0, 8, 0]],
  ])('looks into %s where that is enabled', (_name, type, protocol, header) => {
    const outer = Uint8Array.from([...tcp.slice(0, 34), ...header, ...inner]);
    outer[17] = outer.length - 14;
    outer[23] = protocol;
    outer.set([9, 9, 9, 9], 26);
    expect(hashFrame(outer, { ...settings, tunnelTypes: type })).toEqual(hashFrame(tcp, settings));
    const others = 0x1ff & ~type;
    expect(hashFrame(outer, { ...settings, tunnelTypes: others })).not.toEqual(hashFrame(tcp, settings));
  });
});
