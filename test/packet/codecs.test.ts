import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ARP_OPERATION,
  readArp,
  readEthernet,
  readIcmpEcho,
  readIcmpError,
  readIpv4,
  writeArp,
  writeEthernet,
  writeIcmpEcho,
  writeIpv4,
} from '../../src/packet/index.js';
import { embed, hex, ip, mac, naiveChecksum, u16, u8 } from './support.js';

const offsets = fc.nat(40);
const noRoom: unknown = expect.objectContaining({ code: 'PACKET_NO_ROOM' });
const invalid: unknown = expect.objectContaining({ code: 'PACKET_FIELD_INVALID' });

describe('Ethernet', () => {
  it('reads what it wrote, wherever it lies', () => {
    fc.assert(
      fc.property(mac, mac, u16, offsets, (destination, source, etherType, offset) => {
        const bytes = new Uint8Array(offset + 20).fill(0xee);
        expect(writeEthernet(bytes, offset, { destination, source, etherType })).toBe(14);
        const payload = { payloadOffset: offset + 14, payloadEnd: offset + 20 };
        expect(readEthernet(bytes, offset)).toEqual({ destination, source, etherType, ...payload });
        expect(bytes.subarray(0, offset).every((byte) => byte === 0xee)).toBe(true);
        expect(bytes.subarray(offset + 14).every((byte) => byte === 0xee)).toBe(true);
      }),
    );
  });

  it('reads nothing from a header that is cut short', () => {
    for (let length = 0; length < 14; length++) {
      expect(readEthernet(new Uint8Array(length))).toBeUndefined();
      expect(readEthernet(new Uint8Array(100), 10, 10 + length)).toBeUndefined();
    }
    expect(readEthernet(new Uint8Array(14))).toBeDefined();
    expect(readEthernet(new Uint8Array(14), 0, 15)).toBeUndefined();
    expect(readEthernet(new Uint8Array(14), -1)).toBeUndefined();
    expect(readEthernet(new Uint8Array(14), Number.NaN)).toBeUndefined();
  });

  it('refuses what does not fit', () => {
    const fields = { destination: new Uint8Array(6), source: new Uint8Array(6), etherType: 0x800 };
    expect(() => writeEthernet(new Uint8Array(13), 0, fields)).toThrow(noRoom);
    expect(() => writeEthernet(new Uint8Array(20), 7, fields)).toThrow(noRoom);
    expect(() => writeEthernet(new Uint8Array(20), 0, { ...fields, etherType: 0x10000 })).toThrow(invalid);
    expect(() => writeEthernet(new Uint8Array(20), 0, { ...fields, source: new Uint8Array(5) })).toThrow(
      invalid,
    );
  });
});

describe('ARP', () => {
  const fields = fc.record({ operation: u16, senderMac: mac, senderIp: ip, targetMac: mac, targetIp: ip });

  it('reads what it wrote, wherever it lies', () => {
    fc.assert(
      fc.property(fields, offsets, (arp, offset) => {
        const bytes = new Uint8Array(offset + 28);
        expect(writeArp(bytes, offset, arp)).toBe(28);
        expect(readArp(bytes, offset)).toEqual(arp);
      }),
    );
  });

  it('reads a request as it crosses the wire', () => {
    const packet = hex('0001080006040001 525400123456 0a00020f 000000000000 0a000202');
    expect(readArp(packet)).toEqual({
      operation: ARP_OPERATION.REQUEST,
      senderMac: hex('525400123456'),
      senderIp: hex('0a00020f'),
      targetMac: new Uint8Array(6),
      targetIp: hex('0a000202'),
    });
  });

  it('reads nothing from a packet that is cut short or about other networks', () => {
    const packet = hex('0001080006040001 525400123456 0a00020f 000000000000 0a000202');
    for (let length = 0; length < 28; length++) expect(readArp(packet, 0, length)).toBeUndefined();
    for (const at of [0, 1, 2, 3, 4, 5]) {
      const other = packet.slice();
      other[at] = (other[at] ?? 0) ^ 0x80;
      expect(readArp(other)).toBeUndefined();
    }
  });
});

describe('IPv4', () => {
  const header = fc.record({
    source: ip,
    destination: ip,
    protocol: u8,
    payloadLength: fc.nat(300),
    ttl: u8,
    identification: u16,
    dontFragment: fc.boolean(),
    trafficClass: u8,
  });

  it('reads what it wrote, with a checksum that an independent sum confirms', () => {
    fc.assert(
      fc.property(header, offsets, (fields, offset) => {
        const bytes = new Uint8Array(offset + 20 + fields.payloadLength + 7);
        expect(writeIpv4(bytes, offset, fields)).toBe(20);
        expect(naiveChecksum(bytes.subarray(offset, offset + 20))).toBe(0);
        expect(readIpv4(bytes, offset)).toEqual({
          ...fields,
          headerLength: 20,
          moreFragments: false,
          fragmentOffset: 0,
          checksumValid: true,
          payloadOffset: offset + 20,
          payloadEnd: offset + 20 + fields.payloadLength,
        });
      }),
    );
  });

  it('writes the checksum of a known header', () => {
    const bytes = new Uint8Array(20);
    const [source, destination] = [hex('c0a80001'), hex('c0a800c7')];
    writeIpv4(bytes, 0, { source, destination, protocol: 17, payloadLength: 95 });
    expect(bytes).toEqual(hex('45000073000040004011b861c0a80001c0a800c7'));
  });

  it('skips options', () => {
    const bytes = hex('47000020 00000000 40010000 0a00020f 0a000202 94040000 01010100 deadbeef');
    const sum = naiveChecksum(bytes.subarray(0, 28));
    bytes.set([sum >> 8, sum & 0xff], 10);
    expect(readIpv4(bytes)).toMatchObject({
      headerLength: 28,
      payloadOffset: 28,
      payloadEnd: 32,
      checksumValid: true,
    });
  });

  it('tells a wrong checksum, whichever bit of the header was flipped', () => {
    const bytes = hex('45000073000040004011b861c0a80001c0a800c7' + '00'.repeat(95));
    expect(readIpv4(bytes)?.checksumValid).toBe(true);
    for (let bit = 8 * 4; bit < 8 * 20; bit++) {
      const wrong = bytes.slice();
      wrong[bit >> 3] = (wrong[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(readIpv4(wrong)?.checksumValid).toBe(false);
    }
  });

  it('tells fragments', () => {
    const bytes = hex('4500001400002001401100000a00020f0a000202');
    expect(readIpv4(bytes)).toMatchObject({ moreFragments: true, fragmentOffset: 8, dontFragment: false });
  });

  it('reads nothing from a packet that is cut short or makes no sense', () => {
    const bytes = hex('45000018000040004011b861c0a80001c0a800c7deadbeef');
    for (let length = 0; length < 24; length++) expect(readIpv4(bytes, 0, length)).toBeUndefined();
    expect(readIpv4(bytes)).toBeDefined();
    for (const first of [0x65, 0x44, 0x40, 0x47]) {
      expect(readIpv4(Uint8Array.of(first, ...bytes.subarray(1)))).toBeUndefined();
    }
    expect(readIpv4(hex('45000013000040004011b861c0a80001c0a800c7'))).toBeUndefined();
  });

  it('refuses what does not fit', () => {
    const fields = { source: hex('0a000001'), destination: hex('0a000002'), protocol: 1, payloadLength: 0 };
    expect(() => writeIpv4(new Uint8Array(19), 0, fields)).toThrow(noRoom);
    expect(() => writeIpv4(new Uint8Array(20), 0, { ...fields, payloadLength: 65_516 })).toThrow(invalid);
    expect(() => writeIpv4(new Uint8Array(20), 0, { ...fields, ttl: 256 })).toThrow(invalid);
    expect(() => writeIpv4(new Uint8Array(20), 0, { ...fields, source: new Uint8Array(6) })).toThrow(invalid);
  });
});

describe('ICMP', () => {
  it('reads the echo that it wrote, with a checksum that an independent sum confirms', () => {
    const types = fc.constantFrom<0 | 8>(0, 8);
    fc.assert(
      fc.property(
        types,
        u16,
        u16,
        fc.uint8Array({ maxLength: 200 }),
        offsets,
        (type, identifier, sequence, data, offset) => {
          const end = offset + 8 + data.length;
          const bytes = new Uint8Array(end + 5).fill(0x5a);
          bytes.set(data, offset + 8);
          expect(writeIcmpEcho(bytes, offset, { type, identifier, sequence }, end)).toBe(8 + data.length);
          expect(naiveChecksum(bytes.subarray(offset, end))).toBe(0);
          const extent = { checksumValid: true, payloadOffset: offset + 8, payloadEnd: end };
          expect(readIcmpEcho(bytes, offset, end)).toEqual({ type, identifier, sequence, ...extent });
        },
      ),
    );
  });

  it('reads nothing from an echo that is cut short, and nothing else as an echo', () => {
    const bytes = hex('0800f7fd00010001');
    expect(readIcmpEcho(bytes)).toMatchObject({ type: 8, identifier: 1, sequence: 1, checksumValid: true });
    for (let length = 0; length < 8; length++) expect(readIcmpEcho(bytes, 0, length)).toBeUndefined();
    expect(readIcmpEcho(hex('0801f7fd00010001'))).toBeUndefined();
    expect(readIcmpEcho(hex('0d00f7fd00010001'))).toBeUndefined();
    expect(readIcmpEcho(hex('0800f7fd00010002'))?.checksumValid).toBe(false);
  });

  it('reads the errors', () => {
    const unreachable = hex('0304 0000 0000 05dc 45000018');
    const sum = naiveChecksum(unreachable);
    unreachable.set([sum >> 8, sum & 0xff], 2);
    const extent = { payloadOffset: 8, payloadEnd: 12 };
    expect(readIcmpError(unreachable)).toEqual({
      type: 3,
      code: 4,
      nextHopMtu: 1500,
      checksumValid: true,
      ...extent,
    });
    expect(readIcmpError(hex('0b00f4ff00000001'))).toMatchObject({ type: 11, code: 0, nextHopMtu: 0 });
    expect(readIcmpError(hex('0800f7fd00010001'))).toBeUndefined();
    for (let length = 0; length < 8; length++) expect(readIcmpError(unreachable, 0, length)).toBeUndefined();
  });

  it('refuses what does not fit', () => {
    const fields = { type: 8, identifier: 1, sequence: 1 } as const;
    expect(() => writeIcmpEcho(new Uint8Array(7), 0, fields)).toThrow(noRoom);
    expect(() => writeIcmpEcho(new Uint8Array(20), 0, fields, 21)).toThrow(noRoom);
    expect(() => writeIcmpEcho(new Uint8Array(20), 0, fields, 7)).toThrow(invalid);
    expect(() => writeIcmpEcho(new Uint8Array(8), 0, { ...fields, sequence: 65_536 })).toThrow(invalid);
  });
});

describe('every reader', () => {
  const readers = { readEthernet, readArp, readIpv4, readIcmpEcho, readIcmpError };

  it.each(Object.entries(readers))('%s takes any bytes and sees nothing beyond the end', (_name, read) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), offsets, (bytes, before) => {
        const alone = read(bytes);
        const { array, offset, end } = embed(bytes, before);
        expect(shape(read(array, offset, end), before)).toEqual(shape(alone, 0));
      }),
    );
  });
});

/** The fields with positions made relative to the start, so that two readings can be compared. */
function shape(fields: object | undefined, start: number): unknown {
  if (fields === undefined) return undefined;
  const relative = ([name, value]: [string, unknown]): [string, unknown] =>
    typeof value === 'number' && /^payload(Offset|End)$/.test(name) ? [name, value - start] : [name, value];
  return Object.fromEntries(Object.entries(fields).map(relative));
}
