import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ICMP_ECHO_OVERHEAD,
  buildArpReply,
  buildArpRequest,
  buildIcmpEcho,
  parseIpv4,
  parseMac,
  readArpFrame,
  readEchoFrame,
  writeArp,
  writeEchoFrame,
} from '../../src/packet/index.js';
import { hex, ip, mac, u16 } from './support.js';

const GUEST = { mac: parseMac('52:54:00:12:34:56'), ip: parseIpv4('10.0.2.15') };
const GATEWAY = { mac: parseMac('52:55:0a:00:02:02'), ip: parseIpv4('10.0.2.2') };

const echo = fc.record({
  type: fc.constantFrom<0 | 8>(0, 8),
  sourceMac: mac,
  destinationMac: mac,
  sourceIp: ip,
  destinationIp: ip,
  identifier: u16,
  sequence: u16,
  data: fc.uint8Array({ maxLength: 120 }),
});

describe('ARP frames', () => {
  it('are what crosses the wire', () => {
    const request = buildArpRequest({ senderMac: GUEST.mac, senderIp: GUEST.ip, targetIp: GATEWAY.ip });
    expect(request).toEqual(
      hex('ffffffffffff 525400123456 0806 0001080006040001 525400123456 0a00020f 000000000000 0a000202'),
    );
    const parties = {
      senderMac: GATEWAY.mac,
      senderIp: GATEWAY.ip,
      targetMac: GUEST.mac,
      targetIp: GUEST.ip,
    };
    const reply = buildArpReply(parties);
    expect(reply).toEqual(
      hex('525400123456 52550a000202 0806 0001080006040002 52550a000202 0a000202 525400123456 0a00020f'),
    );
    expect(readArpFrame(reply)).toEqual({ operation: 2, ...parties });
  });

  it('are told apart from other frames', () => {
    const request = buildArpRequest({ senderMac: GUEST.mac, senderIp: GUEST.ip, targetIp: GATEWAY.ip });
    for (let length = 0; length < 42; length++) expect(readArpFrame(request, 0, length)).toBeUndefined();
    request[13] = 0;
    expect(readArpFrame(request)).toBeUndefined();
  });
});

describe('a received packet', () => {
  const request = {
    ...{ sourceMac: GUEST.mac, destinationMac: GATEWAY.mac, sourceIp: GUEST.ip, destinationIp: GATEWAY.ip },
    ...{ identifier: 1, sequence: 1, data: Uint8Array.of(1, 2, 3) },
  };

  it.each<[string, (bytes: Uint8Array) => Uint8Array]>([
    ['Uint8Array', (bytes) => bytes],
    ['Buffer', (bytes) => Buffer.from(bytes)],
  ])('is answered where it lies: echo in a %s', (_name, hold) => {
    const frame = hold(buildIcmpEcho(request));
    const read = readEchoFrame(frame);
    if (read === undefined) throw new Error('unread');
    const { ethernet, ipv4, echo } = read;
    writeEchoFrame(frame, 0, {
      ...{ type: 0, sourceMac: ethernet.destination, destinationMac: ethernet.source },
      ...{ sourceIp: ipv4.destination, destinationIp: ipv4.source },
      ...{ identifier: echo.identifier, sequence: echo.sequence },
      data: frame.subarray(echo.payloadOffset, echo.payloadEnd),
    });
    const { sourceMac, destinationMac, sourceIp, destinationIp } = request;
    const reply = buildIcmpEcho({
      ...{ ...request, type: 0, sourceMac: destinationMac, destinationMac: sourceMac },
      ...{ sourceIp: destinationIp, destinationIp: sourceIp },
    });
    expect([...frame]).toEqual([...reply]);
  });

  it('is answered where it lies: ARP', () => {
    const frame = buildArpReply({
      ...{ senderMac: GUEST.mac, senderIp: GUEST.ip, targetMac: GATEWAY.mac, targetIp: GATEWAY.ip },
    });
    const arp = readArpFrame(frame);
    if (arp === undefined) throw new Error('unread');
    writeArp(frame, 14, {
      ...{ operation: 2, senderMac: arp.targetMac, senderIp: arp.targetIp },
      ...{ targetMac: arp.senderMac, targetIp: arp.senderIp },
    });
    expect(readArpFrame(frame)).toEqual({
      operation: 2,
      senderMac: GATEWAY.mac,
      senderIp: GATEWAY.ip,
      targetMac: GUEST.mac,
      targetIp: GUEST.ip,
    });
  });
});

describe('ICMP echo frames', () => {
  it('give back what they were built from', () => {
    fc.assert(
      fc.property(echo, fc.nat(20), (fields, padding) => {
        const frame = new Uint8Array(ICMP_ECHO_OVERHEAD + fields.data.length + padding);
        frame.set(buildIcmpEcho(fields));
        const read = readEchoFrame(frame);
        expect(read?.ethernet).toMatchObject({
          source: fields.sourceMac,
          destination: fields.destinationMac,
        });
        expect(read?.ipv4).toMatchObject({
          source: fields.sourceIp,
          destination: fields.destinationIp,
          ttl: 64,
        });
        const { type, identifier, sequence } = fields;
        expect(read?.echo).toMatchObject({ type, identifier, sequence });
        expect(frame.slice(read?.echo.payloadOffset, read?.echo.payloadEnd)).toEqual(fields.data);
      }),
    );
  });

  it('are not taken when a bit behind the Ethernet header was flipped', () => {
    fc.assert(
      fc.property(echo, fc.nat(), (fields, where) => {
        const frame = buildIcmpEcho(fields);
        const bit = 14 * 8 + (where % ((frame.length - 14) * 8));
        frame[bit >> 3] = (frame[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect(readEchoFrame(frame)).toBeUndefined();
      }),
    );
  });

  it('are not taken when they are cut short', () => {
    fc.assert(
      fc.property(echo, fc.nat(), (fields, where) => {
        const frame = buildIcmpEcho(fields);
        expect(readEchoFrame(frame, 0, where % frame.length)).toBeUndefined();
      }),
    );
  });

  it('refuse data that no IPv4 packet can hold, and a place that is too small', () => {
    const fields = {
      ...{ sourceMac: GUEST.mac, destinationMac: GATEWAY.mac, sourceIp: GUEST.ip, destinationIp: GATEWAY.ip },
      ...{ identifier: 1, sequence: 1 },
    };
    const longest = new Uint8Array(65_507);
    expect(readEchoFrame(buildIcmpEcho({ ...fields, data: longest }))).toBeDefined();
    expect(() => buildIcmpEcho({ ...fields, data: new Uint8Array(65_508) })).toThrow(
      expect.objectContaining({ code: 'PACKET_FIELD_INVALID' }),
    );
    expect(() => writeEchoFrame(new Uint8Array(ICMP_ECHO_OVERHEAD - 1), 0, fields)).toThrow(
      expect.objectContaining({ code: 'PACKET_NO_ROOM' }),
    );
  });
});
