import { describe, expect, it } from 'vitest';
import { SILENT } from '../../src/log.js';
import { makePciTransport, type PciInterface } from '../../src/transport/pci-interface.js';
import { FakeLegacyDevice } from './fake-legacy-device.js';
import type { FakePciFunction } from './fake-pci-function.js';
import { FakeVirtioDevice } from './fake-virtio-device.js';

const MODERN_ID = 0x1041;
const TRANSITIONAL_ID = 0x1000;

const chosen = (pci: FakePciFunction, pciInterface?: PciInterface): string =>
  makePciTransport(pci, { log: SILENT, pciInterface }).kind;

const setId = (pci: FakePciFunction, id: number): void => {
  new DataView(pci.config.buffer).setUint16(2, id, true);
};

const legacy = (): FakePciFunction => new FakeLegacyDevice().pci;
const modern = (): FakePciFunction => new FakeVirtioDevice().pci;

/** A card with both interfaces: the structures of a modern one in BAR 4, and BAR 0 of a legacy one. */
function transitional(): FakePciFunction {
  const pci = modern();
  const old = legacy();
  setId(pci, TRANSITIONAL_ID);
  pci.config.set(old.config.subarray(0x10, 0x14), 0x10);
  const [[bar, model]] = old.bars;
  pci.bars.set(bar, model);
  return pci;
}

const absent = (message: RegExp): unknown =>
  expect.objectContaining({
    code: 'PCI_INTERFACE_ABSENT',
    message: expect.stringMatching(message) as unknown,
  });

describe('the interface of a card', () => {
  it('is the modern one where there is that', () => {
    expect(chosen(modern())).toBe('pci-modern');
    expect(chosen(transitional())).toBe('pci-modern');
    expect(chosen(transitional(), 'modern')).toBe('pci-modern');
    expect(chosen(legacy())).toBe('pci-legacy');
  });

  it('is the one that was asked for', () => {
    expect(chosen(transitional(), 'legacy')).toBe('pci-legacy');
    expect(chosen(legacy(), 'legacy')).toBe('pci-legacy');
    expect(() => chosen(legacy(), 'modern')).toThrow(absent(/disable-modern=off/));
    expect(() => chosen(modern(), 'legacy')).toThrow(
      absent(/device id is 1041, not 1000.*disable-legacy=off/),
    );
  });

  it('is not the legacy one of a device that does not look like it', () => {
    const other = legacy();
    setId(other, MODERN_ID);
    expect(() => chosen(other)).toThrow(
      absent(/no virtio structures, and no legacy interface: its device id/),
    );
    const revised = legacy();
    revised.config[0x08] = 1;
    expect(() => chosen(revised)).toThrow(absent(/its revision is 1, not 0/));
    const memory = legacy();
    memory.config[0x10] = 0;
    expect(() => chosen(memory)).toThrow(absent(/BAR 0 is not one of I\/O ports/));
    const none = legacy();
    none.bars.clear();
    expect(() => chosen(none)).toThrow(absent(/BAR 0 is not one of I\/O ports/));
    for (const pci of [other, revised, memory, none]) expect(pci.openWindows).toBe(0);
  });

  it('is not told by capabilities of a reserved type, which any device may have', () => {
    const old = legacy();
    old.config[0x06] |= 0x10;
    old.config[0x34] = 0x40;
    old.config.set([9, 0, 16, 0x42], 0x40);
    expect(chosen(old)).toBe('pci-legacy');
    expect(() => chosen(old, 'modern')).toThrow(absent(/no modern interface/));
  });

  it('is not the legacy one of a card whose modern structures make no sense', () => {
    const broken = transitional();
    const common = broken.config.findIndex((id, at) => at >= 0x40 && id === 9 && broken.config[at + 3] === 1);
    broken.config[common + 3] = 9;
    expect(() => chosen(broken)).toThrow(expect.objectContaining({ code: 'PCI_CAPABILITY_INVALID' }));
  });
});
