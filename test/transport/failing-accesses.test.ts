/** Each access to a register failing, one at a time, in the life of a transport. */
import { describe, expect, it } from 'vitest';
import { SILENT } from '../../src/log.js';
import { LegacyPciTransport } from '../../src/transport/legacy-pci.js';
import { ModernPciTransport } from '../../src/transport/modern-pci.js';
import { STATUS, type QueueLayout, type Transport } from '../../src/transport/transport.js';
import { FakeLegacyDevice } from './fake-legacy-device.js';
import type { FakePciFunction } from './fake-pci-function.js';
import { FakeVirtioDevice } from './fake-virtio-device.js';
import { NO_HANDLERS } from './support.js';

interface Subject {
  readonly pci: FakePciFunction;
  readonly transport: Transport;
}

const RING_RESET = 1n << 40n;
/** A ring of 64 descriptors, at a place that any interface takes. */
const LAYOUT: QueueLayout = {
  size: 64,
  descriptorArea: { lo: 0x1_0000, hi: 0 },
  driverArea: { lo: 0x1_0400, hi: 0 },
  deviceArea: { lo: 0x1_1000, hi: 0 },
};

function modern(msixVectors: number): Subject {
  const { pci } = new FakeVirtioDevice({ queueSizes: [64, 64], msixVectors, features: RING_RESET });
  pci.hasIntx = true;
  return { pci, transport: new ModernPciTransport(pci, { log: SILENT }) };
}

function legacy(msixVectors: number): Subject {
  const { pci } = new FakeLegacyDevice({ queueSizes: [64, 64], msixVectors });
  pci.hasIntx = true;
  return { pci, transport: new LegacyPciTransport(pci, { log: SILENT }) };
}

async function use(transport: Transport): Promise<void> {
  transport.writeStatus(0);
  transport.writeStatus(STATUS.ACKNOWLEDGE | STATUS.DRIVER);
  transport.writeDriverFeatures(transport.readDeviceFeatures());
  transport.enableInterrupts(transport.queueCount, NO_HANDLERS);
  for (const queue of [0, 1]) transport.enableQueue(queue, LAYOUT);
  transport.writeStatus(transport.readStatus() | STATUS.DRIVER_OK);
  transport.notify(1);
  transport.readConfigGeneration();
  transport.writeConfig(0, 1, transport.readConfig(0, 1));
  if (transport.legacy) return;
  await transport.resetQueue(1, 1000);
  transport.enableQueue(1, LAYOUT);
}

/** Uses the device and closes it; says how many of the two failed. */
async function live({ transport }: Subject): Promise<number> {
  const failed = (): number => 1;
  const fine = (): number => 0;
  const used = await use(transport).then(fine, failed);
  return used + (await transport.close().then(fine, failed));
}

describe.each([
  ['a modern device with MSI-X', () => modern(4)],
  ['a modern device with INTx', () => modern(0)],
  ['a legacy device with MSI-X', () => legacy(4)],
  ['a legacy device with INTx', () => legacy(0)],
])('%s', (_, create) => {
  it('is given back whole, whichever access fails', async () => {
    const whole = create();
    expect(await live(whole)).toBe(0);
    const { accessCount } = whole.pci;
    expect(accessCount).toBeGreaterThan(20);
    let unnoticed = 0;
    for (let number = 1; number <= accessCount; number++) {
      const subject = create();
      const { pci } = subject;
      pci.failingAccess = number;
      if ((await live(subject)) === 0) unnoticed++;
      const label = `access ${number}`;
      expect(pci.openWindows, label).toBe(0);
      expect(pci.events.at(-1), label).toBe('close function');
      expect([pci.handlers.length, pci.intxHandler], label).toEqual([0, undefined]);
      expect(pci.events.indexOf('disable'), label).toBeGreaterThan(0);
    }
    // Mapping is tried again with fewer vectors: two accesses for the configuration, three for each of two queues.
    const tried = whole.pci.msixVectors > 0 ? 8 : 0;
    expect(unnoticed).toBe(tried);
  });
});
