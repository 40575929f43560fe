import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { internetChecksum } from '../../src/packet/index.js';
import { hex, naiveChecksum } from './support.js';

describe('the internet checksum', () => {
  it('gives the sum of the example in RFC 1071', () => {
    // Section 3: the words 0001 f203 f4f5 f6f7 add up to ddf2.
    expect(internetChecksum(hex('0001f203f4f5f6f7'))).toBe(~0xddf2 & 0xffff);
  });

  it('gives the checksum of a known IPv4 header', () => {
    expect(internetChecksum(hex('450000730000400040110000c0a80001c0a800c7'))).toBe(0xb861);
    expect(internetChecksum(hex('45000073000040004011b861c0a80001c0a800c7'))).toBe(0);
  });

  it('agrees with a naive one on every range of any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), fc.nat(600), fc.nat(600), (bytes, from, to) => {
        const part = bytes.subarray(from, to);
        expect(internetChecksum(bytes, Math.min(from, bytes.length), to)).toBe(naiveChecksum(part));
      }),
    );
  });

  it('agrees with a naive one where every word carries', () => {
    const bytes = new Uint8Array(65_535).fill(0xff);
    expect(internetChecksum(bytes)).toBe(naiveChecksum(bytes));
  });

  it('goes on from a sum that it is given', () => {
    expect(internetChecksum(hex('f4f5f6f7'), 0, 4, 0x0001 + 0xf203)).toBe(~0xddf2 & 0xffff);
  });
});
