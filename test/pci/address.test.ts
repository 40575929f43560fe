import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parsePciAddress } from '../../src/pci/address.js';

describe('parsePciAddress', () => {
  it.each([
    ['0000:00:10.0', '0000:00:10.0'],
    ['00:10.0', '0000:00:10.0'],
    ['0:1.7', '0000:00:01.7'],
    ['0000:AF:1F.3', '0000:af:1f.3'],
    ['10000:e1:00.0', '10000:e1:00.0'],
    ['00000001:02:03.4', '0001:02:03.4'],
    ['FFFFFFFF:ff:1f.7', 'ffffffff:ff:1f.7'],
  ])('brings %s into the form of sysfs', (text, address) => {
    expect(parsePciAddress(text)).toBe(address);
  });

  it.each([
    '',
    'eth0',
    '0000:00:10',
    '0000:00:10.8',
    '0000:00:20.0',
    '0000:000:10.0',
    '100000000:00:10.0',
    ' 00:10.0',
    '00:10.0\n',
    '../../etc/passwd',
    '0000:00:10.0/../..',
    '0000:00:10.0\0',
    '٠٠:10.0',
  ])('refuses %j', (text) => {
    expect(() => parsePciAddress(text)).toThrow(expect.objectContaining({ code: 'PCI_ADDRESS_MALFORMED' }));
  });

  it('refuses what is not text, as JavaScript may pass it', () => {
    for (const value of [undefined, null, 16, {}, ['00:10.0']]) {
      expect(() => parsePciAddress(value as never)).toThrow(/is not a PCI address/);
    }
  });

  it('gives nothing that could be more than a file name, and takes back what it gave', () => {
    const alphabet = fc.constantFrom(...Array.from('0123456789abcdefABCDEFg:./ \n'));
    fc.assert(
      fc.property(fc.string({ unit: alphabet, maxLength: 16 }), (text) => {
        let address;
        try {
          address = parsePciAddress(text);
        } catch (error) {
          expect(error).toMatchObject({ code: 'PCI_ADDRESS_MALFORMED' });
          return;
        }
        expect(address).toMatch(/^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/);
        expect(parsePciAddress(address)).toBe(address);
      }),
    );
  });
});
