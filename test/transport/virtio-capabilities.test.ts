import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VirtioNetError } from '../../src/errors.js';
import { findVirtioStructures, type VirtioStructures } from '../../src/transport/virtio-capabilities.js';
import { buildConfigSpace, slotOf, TYPE, type VirtioCapability } from './fake-config-space.js';
import { readBytes } from './fake-pci-function.js';

const BAR_SIZES: Readonly<Record<number, number>> = { 0: 0x20, 2: 0x1000, 4: 0x4000 };

const COMMON: VirtioCapability = { type: TYPE.COMMON, bar: 4, offset: 0x0000, length: 0x1000 };
const ISR: VirtioCapability = { type: TYPE.ISR, bar: 4, offset: 0x1000, length: 0x1000 };
const DEVICE: VirtioCapability = { type: TYPE.DEVICE, bar: 4, offset: 0x2000, length: 0x1000 };
const NOTIFY: VirtioCapability = { type: TYPE.NOTIFY, bar: 4, offset: 0x3000, length: 0x1000, multiplier: 4 };
const ALL = [COMMON, ISR, DEVICE, NOTIFY];

function find(config: Uint8Array, sizes = BAR_SIZES): VirtioStructures {
  return findVirtioStructures({
    address: '0000:00:10.0',
    readConfig: (offset, width) => readBytes(config, offset, width),
    barSize: (bar) => sizes[bar] ?? 0,
  });
}

const findAmong = (...capabilities: VirtioCapability[]): VirtioStructures =>
  find(buildConfigSpace(capabilities));

/** The list of `ALL` with one capability changed. */
const withChange = (original: VirtioCapability, change: Partial<VirtioCapability>): VirtioStructures =>
  findAmong(...ALL.map((one) => (one === original ? { ...one, ...change } : one)));

const invalid = (message: RegExp): unknown =>
  expect.objectContaining({
    code: 'PCI_CAPABILITY_INVALID',
    message: expect.stringMatching(message) as unknown,
  });

describe('finding the virtio structures', () => {
  it('finds the four structures where the capabilities say', () => {
    expect(findAmong(...ALL)).toEqual({
      common: { bar: 4, offset: 0x0000, length: 0x1000 },
      isr: { bar: 4, offset: 0x1000, length: 0x1000 },
      device: { bar: 4, offset: 0x2000, length: 0x1000 },
      notify: { bar: 4, offset: 0x3000, length: 0x1000, multiplier: 4 },
    });
  });

  it('does without a device configuration', () => {
    expect(findAmong(COMMON, ISR, NOTIFY).device).toBeUndefined();
  });

  // Proves: pci/virtio-structure-pci-capabilities/2
  it('takes the first instance that it can use', () => {
    const first = { ...NOTIFY, offset: 0x3100, length: 0x100, multiplier: 2 };
    expect(findAmong(COMMON, ISR, first, NOTIFY).notify).toMatchObject({ offset: 0x3100, multiplier: 2 });
    const beyond = { ...NOTIFY, length: 0x1001 };
    expect(findAmong(COMMON, ISR, beyond, NOTIFY).notify).toMatchObject({ offset: 0x3000, length: 0x1000 });
  });

  // Proves: pci/virtio-structure-pci-capabilities/1, pci/vendor-data-capability/1
  it('ignores reserved and unneeded types', () => {
    const odd = [0, 6, 7, 10, 200, TYPE.PCI, TYPE.SHARED_MEMORY, TYPE.VENDOR].map((type) => ({
      ...COMMON,
      type,
      bar: 1,
      offset: 3,
    }));
    for (const one of odd) expect(findAmong(one, ...ALL)).toEqual(findAmong(...ALL));
  });

  it('ignores other capabilities that look like one of virtio', () => {
    expect(findAmong({ ...COMMON, id: 0x05, offset: 0x40 }, ...ALL).common.offset).toBe(0);
  });

  // Proves: pci/virtio-structure-pci-capabilities/4
  it('ignores a reserved BAR', () => {
    for (const bar of [6, 7, 255]) {
      expect(findAmong({ ...COMMON, bar }, ...ALL).common.bar).toBe(4);
      expect(withChange(DEVICE, { bar }).device).toBeUndefined();
      expect(() => withChange(COMMON, { bar })).toThrow(invalid(/has no common configuration structure/));
    }
  });

  // Proves: pci/virtio-structure-pci-capabilities/3
  it('accepts a longer capability', () => {
    expect(withChange(COMMON, { capLength: 24 })).toEqual(findAmong(...ALL));
    expect(withChange(NOTIFY, { capLength: 255 })).toEqual(findAmong(...ALL));
  });

  // Proves: pci/virtio-structure-pci-capabilities/6
  it('handles an unexpectedly large length', () => {
    expect(withChange(COMMON, { length: 0x4000 }).common).toEqual({ bar: 4, offset: 0, length: 0x4000 });
  });

  it.each([
    [
      'a capability too short for its fields',
      NOTIFY,
      { capLength: 16 },
      /is 16 bytes long, less than the 20/,
    ],
    ['a BAR that is not there', COMMON, { bar: 3 }, /names BAR 3, which the function does not have/],
    ['a misaligned common configuration', COMMON, { offset: 2 }, /offset 0x2, not a multiple of 4/],
    ['a misaligned notification address', NOTIFY, { offset: 0x3001, length: 2 }, /not a multiple of 2/],
    ['a misaligned device configuration', DEVICE, { offset: 0x2002 }, /not a multiple of 4/],
    ['a common configuration too short', COMMON, { length: 55 }, /length 55; 56 bytes/],
    ['a notification structure too short', NOTIFY, { length: 1 }, /length 1; 2 bytes/],
    ['an empty ISR status', ISR, { length: 0 }, /length 0; 1 bytes/],
    ['an empty device configuration', DEVICE, { length: 0 }, /length 0; 1 bytes/],
    ['one byte too many', COMMON, { length: 0x4001 }, /reaches to 0x4001, beyond the end of BAR 4 at 0x4000/],
    ['a sum beyond 32 bits', COMMON, { offset: 0xffff_fffc, length: 0x40 }, /reaches to 0x10000003c/],
    ['the largest offset and length', ISR, { offset: 0xffff_ffff, length: 0xffff_ffff }, /0x1fffffffe/],
    ['an odd notify_off_multiplier', NOTIFY, { multiplier: 3 }, /odd notify_off_multiplier 3/],
  ])('refuses %s', (_, original, change, message) => {
    expect(() => withChange(original, change)).toThrow(invalid(message));
  });

  it('names what is missing', () => {
    expect(() => findAmong(ISR, NOTIFY)).toThrow(invalid(/has no common configuration structure/));
    expect(() => findAmong(COMMON, ISR)).toThrow(invalid(/has no notification structure/));
    expect(() => findAmong(COMMON, NOTIFY)).toThrow(invalid(/has no ISR status structure/));
  });

  it('tells a legacy device from a broken one', () => {
    expect(() => findAmong()).toThrow(
      expect.objectContaining({
        code: 'PCI_INTERFACE_ABSENT',
        message: expect.stringMatching(/no modern interface\. .*disable-modern=off/) as unknown,
      }),
    );
  });

  it('refuses a capability that runs out of the configuration space', () => {
    const config = buildConfigSpace(ALL);
    config[slotOf(3) + 1] = 0xf4;
    config.set([0x09, 0x00, 16, TYPE.COMMON], 0xf4);
    config[slotOf(0) + 3] = TYPE.VENDOR;
    expect(() => find(config)).toThrow(invalid(/at 0xf4 runs out of the configuration space/));
  });

  it('never reads out of bounds, hangs, or gives a structure outside of its BAR, whatever the space holds', () => {
    const byte = fc.integer({ min: 0, max: 255 });
    const wild = fc.uint8Array({ minLength: 256, maxLength: 256 });
    const plausible = fc
      .array(
        fc.record({
          type: fc.integer({ min: 0, max: 10 }),
          bar: fc.integer({ min: 0, max: 7 }),
          offset: fc.oneof(fc.integer({ min: 0, max: 0x5000 }), fc.integer({ min: 0, max: 0xffff_ffff })),
          length: fc.oneof(fc.integer({ min: 0, max: 0x5000 }), fc.integer({ min: 0, max: 0xffff_ffff })),
          multiplier: fc.integer({ min: 0, max: 0xffff_ffff }),
          capLength: fc.constantFrom(16, 20, 24, 3),
        }),
        { minLength: 1, maxLength: 8 },
      )
      .map(buildConfigSpace);
    const flipped = fc
      .tuple(fc.array(fc.tuple(fc.integer({ min: 0x34, max: 255 }), byte), { maxLength: 4 }), byte)
      .map(([changes]) => {
        const config = buildConfigSpace(ALL);
        for (const [at, value] of changes) config[at] = value;
        return config;
      });
    let found = 0;
    fc.assert(
      fc.property(fc.oneof(wild, plausible, flipped), (config) => {
        try {
          const { common, notify, isr, device } = find(config);
          for (const one of [common, notify, isr, device ?? isr]) {
            expect(one.length).toBeGreaterThan(0);
            expect(one.offset + one.length).toBeLessThanOrEqual(BAR_SIZES[one.bar] ?? 0);
          }
          expect([common.offset % 4, notify.offset % 2, notify.multiplier % 2]).toEqual([0, 0, 0]);
          found++;
        } catch (error) {
          expect(error).toBeInstanceOf(VirtioNetError);
          expect(error).toMatchObject({
            code: expect.stringMatching(/^PCI_(CAPABILITY_INVALID|INTERFACE_ABSENT)$/) as unknown,
          });
        }
      }),
      { numRuns: 3000 },
    );
    expect(found).toBeGreaterThan(0);
  });
});
