/** Real cards that are reached and heard in each way that a transport has: interfaces, interrupts, notifications. */
import { expect, it } from 'vitest';
import { describeVm } from '../vm/describe-vm.js';
import type { VmNic } from '../vm/nic.js';
import { reported, runGuest } from '../vm/run-guest.js';

const SHIM = '/app/node_modules/virtio-net/native-shim/prebuilt/linux-x64/virtio-net-shim.so';

interface Row {
  readonly name: string;
  readonly properties: string;
  readonly options?: Readonly<Record<string, unknown>>;
  /** What the program is to see; `vectors` counts those of the kernel. */
  readonly transport: string;
  readonly delivery: string;
}

const MODERN = 'disable-legacy=on,iommu_platform=on';
const TRANSITIONAL = 'disable-legacy=off,disable-modern=off,iommu_platform=off';
const LEGACY = 'disable-legacy=off,disable-modern=on';
const modern = { transport: 'pci-modern' } as const;
const legacy = { transport: 'pci-legacy' } as const;

const ROWS: readonly Row[] = [
  { name: 'a vector each', properties: MODERN, ...modern, delivery: '3 vectors' },
  { name: 'two vectors', properties: `${MODERN},vectors=2`, ...modern, delivery: '2 vectors' },
  { name: 'one vector', properties: `${MODERN},vectors=1`, ...modern, delivery: '1 vectors' },
  { name: 'no vector', properties: `${MODERN},vectors=0`, ...modern, delivery: 'INTx' },
  {
    name: 'INTx by choice',
    properties: MODERN,
    options: { interruptMode: 'intx' },
    ...modern,
    delivery: 'INTx',
  },
  {
    name: 'two vectors by choice',
    properties: MODERN,
    options: { maxVectors: 2 },
    ...modern,
    delivery: '2 vectors',
  },
  { name: 'a page per queue', properties: `${MODERN},page-per-vq=on`, ...modern, delivery: '3 vectors' },
  { name: 'I/O notify', properties: `${MODERN},modern-pio-notify=on`, ...modern, delivery: '3 vectors' },
  { name: 'legacy', properties: LEGACY, ...legacy, delivery: '3 vectors' },
  { name: 'legacy, no vector', properties: `${LEGACY},vectors=0`, ...legacy, delivery: 'INTx' },
  { name: 'legacy, one vector', properties: `${LEGACY},vectors=1`, ...legacy, delivery: '1 vectors' },
  {
    name: 'transitional as legacy',
    properties: TRANSITIONAL,
    options: { pciInterface: 'legacy' },
    ...legacy,
    delivery: '3 vectors',
  },
  { name: 'transitional', properties: TRANSITIONAL, ...modern, delivery: '3 vectors' },
];

const BEHIND_ROOT_PORT = '0000:01:00.0';
const FIRST_SLOT = 0x10;
const addressOf = (index: number): string => `0000:00:${(FIRST_SLOT + index).toString(16)}.0`;

describeVm('the ways to reach and to hear a card', () => {
  it('work on real cards', async () => {
    const nics: VmNic[] = [
      ...ROWS.map(({ properties }): VmNic => ({ properties })),
      { properties: `${MODERN},bus=rp0,addr=0`, address: BEHIND_ROOT_PORT },
    ];
    const cards = [
      ...ROWS.map(({ name, options }, index) => ({ name, address: addressOf(index), options })),
      { name: 'behind a root port', address: BEHIND_ROOT_PORT },
    ];
    const result = await runGuest(
      ['transport/guest/drive-cards'],
      `VIRTIO_NET_SHIM=${SHIM} node drive-cards.mjs '${JSON.stringify(cards)}'`,
      { nics, extraQemuArgs: ['-device', 'pcie-root-port,id=rp0,bus=pcie.0,addr=0x4,chassis=1,slot=1'] },
    );
    expect(result.status, result.output).toBe(0);
    const expected = Object.fromEntries(
      [...ROWS, { name: 'behind a root port', ...modern, delivery: '3 vectors' }].map(
        ({ name, transport, delivery }) => [name, { transport, delivery, answers: 40, heard: true }],
      ),
    );
    expect(reported(result.output)).toEqual(expected);
    expect(result.dmarFaults).toEqual([]);
  });
});
