import { describe, expect, it } from 'vitest';
import { listCapabilities, type PciCapability } from '../../src/pci/capabilities.js';

/** Lists what a configuration space holds in which `bytes` were put at their offsets. */
function list(bytes: Readonly<Record<number, number>>, hasList = true): PciCapability[] {
  const config = new Uint8Array(256);
  if (hasList) config[0x06] = 0x10;
  for (const [at, value] of Object.entries(bytes)) config[Number(at)] = value;
  return listCapabilities({
    address: '0000:00:10.0',
    readConfig: (offset, width) => {
      if (offset % width !== 0 || offset + width > config.length) throw new RangeError(`read at ${offset}`);
      return width === 1 ? (config[offset] ?? 0) : new DataView(config.buffer).getUint16(offset, true);
    },
  });
}

const POINTER = 0x34;
const invalid = (message: RegExp): unknown =>
  expect.objectContaining({
    code: 'PCI_CAPABILITY_INVALID',
    message: expect.stringMatching(message) as unknown,
  });

describe('listCapabilities', () => {
  it('follows the list in its order', () => {
    expect(list({ [POINTER]: 0x98, 0x98: 0x11, 0x99: 0x40, 0x40: 0x09, 0x41: 0xfc, 0xfc: 0x05 })).toEqual([
      { id: 0x11, offset: 0x98 },
      { id: 0x09, offset: 0x40 },
      { id: 0x05, offset: 0xfc },
    ]);
  });

  it('finds none where the device has no list, whatever the pointer says', () => {
    expect(list({ [POINTER]: 0x40, 0x40: 0x09 }, false)).toEqual([]);
    expect(list({ [POINTER]: 0 })).toEqual([]);
  });

  it('masks the reserved bits of a pointer', () => {
    expect(list({ [POINTER]: 0x43, 0x40: 0x09, 0x41: 0x52, 0x50: 0x05, 0x51: 0x03 })).toEqual([
      { id: 0x09, offset: 0x40 },
      { id: 0x05, offset: 0x50 },
    ]);
  });

  it('notices a list that comes around', () => {
    expect(() => list({ [POINTER]: 0x40, 0x40: 0x09, 0x41: 0x40 })).toThrow(invalid(/comes around/));
    const ring = { [POINTER]: 0x40, 0x40: 0x09, 0x41: 0x80, 0x80: 0x09, 0x81: 0x40 };
    expect(() => list(ring)).toThrow(invalid(/comes around/));
  });

  it('takes a list as long as there is room for', () => {
    const full: Record<number, number> = { [POINTER]: 0x40 };
    for (let at = 0x40; at < 0x100; at += 4) Object.assign(full, { [at]: 0x09, [at + 1]: (at + 4) & 0xff });
    expect(list(full)).toHaveLength(48);
  });

  it('refuses a pointer into the header', () => {
    expect(() => list({ [POINTER]: 0x10 })).toThrow(invalid(/into the header, at 0x10/));
  });

  it('notices that the device is gone', () => {
    expect(() => list({ [POINTER]: 0xfc, 0xfc: 0xff, 0xfd: 0xff })).toThrow(invalid(/the device is gone/));
  });
});
