import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatIpv4,
  formatMac,
  isBroadcastMac,
  parseIpv4,
  parseMac,
  sameAddress,
} from '../../src/packet/index.js';
import { ip, mac } from './support.js';

describe('addresses', () => {
  it('gives back the MAC address that it wrote as text', () => {
    fc.assert(
      fc.property(mac, (bytes) => {
        expect(parseMac(formatMac(bytes))).toEqual(bytes);
      }),
    );
  });

  it('gives back the IPv4 address that it wrote as text', () => {
    fc.assert(
      fc.property(ip, (bytes) => {
        expect(parseIpv4(formatIpv4(bytes))).toEqual(bytes);
      }),
    );
  });

  it('reads and writes the usual forms', () => {
    expect(parseMac('52-54-00-AB-cd-0e')).toEqual(Uint8Array.of(0x52, 0x54, 0, 0xab, 0xcd, 0x0e));
    expect(formatMac(Uint8Array.of(9, 0, 1, 2, 3, 4, 255), 1)).toBe('00:01:02:03:04:ff');
    expect(formatIpv4(Uint8Array.of(1, 2, 10, 0, 2, 15), 2)).toBe('10.0.2.15');
  });

  it.each([
    '',
    '52:54:00:12:34',
    '52:54:00:12:34:5',
    '52:54:00-12:34:56',
    '52:54:00:12:34:56:78',
    'x2:54:00:12:34:56',
  ])('refuses %j as a MAC address', (text) =>
    expect(() => parseMac(text)).toThrow(expect.objectContaining({ code: 'ADDRESS_MALFORMED' })),
  );

  it.each(['', '10.0.2', '10.0.2.256', '10.0.2.15.1', '010.0.2.1', '10.0.2.-1', '10.0.2.1 ', '0x0a.0.0.1'])(
    'refuses %j as an IPv4 address',
    (text) => expect(() => parseIpv4(text)).toThrow(expect.objectContaining({ code: 'ADDRESS_MALFORMED' })),
  );

  it('tells addresses apart', () => {
    expect(sameAddress(parseIpv4('10.0.2.2'), parseIpv4('10.0.2.2'))).toBe(true);
    expect(sameAddress(parseIpv4('10.0.2.2'), parseIpv4('10.0.2.3'))).toBe(false);
    expect(sameAddress(parseIpv4('10.0.2.2'), parseMac('0a:00:02:02:00:00'))).toBe(false);
    expect(isBroadcastMac(parseMac('ff:ff:ff:ff:ff:ff'))).toBe(true);
    expect(isBroadcastMac(parseMac('ff:ff:ff:ff:ff:fe'))).toBe(false);
  });
});
