/** The same code against a real kernel and real devices: those of QEMU, in a guest with an IOMMU. */
import { expect, it } from 'vitest';
import { describeVm } from '../vm/describe-vm.js';
import { reported, runGuest } from '../vm/run-guest.js';
import type { VmOptions, VmResult } from '../vm/run-vm.js';

const SHIM = '/app/node_modules/virtio-net/native-shim/prebuilt/linux-x64/virtio-net-shim.so';

interface Run {
  readonly result: VmResult;
  /** What the program reported, by name. */
  readonly seen: Readonly<Record<string, unknown>>;
}

async function runProgram(name: string, options: Partial<VmOptions>): Promise<Run> {
  const script = `VIRTIO_NET_SHIM=${SHIM} node ${name}.mjs`;
  const result = await runGuest([`transport/guest/${name}`], script, options);
  expect(result.status, result.output).toBe(0);
  return { result, seen: reported(result.output) };
}

const failure = (code: string, message: RegExp): unknown => ({
  code,
  message: expect.stringMatching(message) as unknown,
});

describeVm('virtio cards in a VM', () => {
  it('takes a card from the kernel and gives it back', async () => {
    const { seen } = await runProgram('bind-card', { nics: [{ bind: false }, { bind: 'none' }] });
    const idle = {
      driver: 'virtio-pci',
      driverOverride: null,
      interfaces: [{ name: 'eth0', up: false }],
      hasHiddenInterface: false,
    };
    // Without an override of ours, so that any driver can take it again where this program is killed.
    const taken = {
      driver: 'vfio-pci',
      driverOverride: null,
      interfaces: [],
      hasHiddenInterface: false,
    };
    expect(seen).toEqual({
      before: idle,
      'idle card taken': { ...taken, previous: 'virtio-pci' },
      'idle card given back': idle,
      'card of a killed program probed anew': idle,
      'driverless card taken': { ...taken, previous: null },
      'driverless card given back': { ...idle, driver: null, interfaces: [] },
      'refusal of a card that is up': failure('PCI_INTERFACE_UP', /eth0 of 0000:00:10\.0 is up/),
      'card that is up after the refusal': { ...idle, interfaces: [{ name: 'eth0', up: true }] },
      'card that was up taken': { ...taken, previous: 'virtio-pci' },
      'card that was up given back': idle,
      'refusal of a user without rights': failure('PCI_PERMISSION_DENIED', /driver_override: EACCES/),
      'driverless card after the refusal': { ...idle, driver: null, interfaces: [] },
      'moving an interface away': '',
      'card whose interface was moved away': { ...idle, interfaces: [], hasHiddenInterface: true },
      'refusal of a card whose interface was moved away': failure(
        'PCI_INTERFACE_UP',
        /another network namespace/,
      ),
    });
  });

  it('drives the registers of real cards', async () => {
    const { seen, result } = await runProgram('open-card', {
      nics: [
        { bind: false, properties: 'mac=52:54:00:ab:cd:ef' },
        { bind: true, properties: 'vectors=0' },
        { bind: true, properties: 'disable-legacy=off,iommu_platform=off' },
        { bind: false, properties: 'disable-legacy=off,disable-modern=on' },
        { bind: true, properties: 'modern-pio-notify=on' },
        { bind: true, properties: 'vectors=2' },
      ],
      onLine: async (line, vm) => {
        if (line.includes('ready for the link')) await vm.qmp('set_link', { name: 'nic0', up: false });
      },
    });
    expect(seen).toEqual({
      'driver before': 'virtio-pci',
      'driver while open': 'vfio-pci',
      features: [true, true, true, true],
      mac: [0x52, 0x54, 0x00, 0xab, 0xcd, 0xef],
      queues: [3, 256, 256, 64, 0],
      generation: true,
      status: 11,
      'opening it twice': failure('VFIO_DEVICE_BUSY', /is in use/),
      'link before': 1,
      'ready for the link to go down': true,
      'link after': 0,
      'enabling twice': failure('DEVICE_QUEUE_UNAVAILABLE', /is enabled already/),
      'driver after': 'virtio-pci',
      'status when opened again': 11,
      'notifying a queue that was reset': failure('DEVICE_QUEUE_UNAVAILABLE', /is not enabled/),
      'status after the reset of a queue': 15,
      'interrupts without vectors': failure('DEVICE_VECTOR_REFUSED', /interrupts: false/),
      'status without vectors': 15,
      'driver of a card that had vfio-pci': 'vfio-pci',
      'status of PIO': 15,
      'status of two vectors': 15,
      'ids of the transitional card': 0x1000,
      'queues of the transitional card': 3,
      'legacy card': {
        kind: 'pci-legacy',
        queues: [3, 256, 256, 64, 0],
        mac: 0x5452,
        features: true,
        status: 0,
      },
      'legacy card with vectors': { mac: 0x5452, same: true },
      'legacy card with another address': [0x52, 0x54, 0x77],
      'modern interface of the legacy card': failure('PCI_INTERFACE_ABSENT', /disable-modern=off/),
      'legacy interface of a modern card': failure('PCI_INTERFACE_ABSENT', /device id is 1041/),
      'driver of the legacy card': 'virtio-pci',
      'host bridge': failure('PCI_NOT_VIRTIO_NET', /8086:29c0/),
      nowhere: failure('PCI_NO_SUCH_DEVICE', /0000:00:1e\.7/),
    });
    expect(result.dmarFaults).toEqual([]);
  });
});
