/** What the tests of the transports share. */
import { expect } from 'vitest';
import { SILENT, type Logger } from '../../src/log.js';
import { ModernPciTransport } from '../../src/transport/modern-pci.js';
import type { InterruptHandlers, QueueLayout } from '../../src/transport/transport.js';
import { BAR, COMMON, FakeVirtioDevice, NOTIFY_AT, type FakeDeviceOptions } from './fake-virtio-device.js';

export interface Made {
  readonly device: FakeVirtioDevice;
  readonly transport: ModernPciTransport;
}

/** A modern device, and the transport that leads to it. */
export function make(options: FakeDeviceOptions = {}, log: Logger = SILENT): Made {
  const device = new FakeVirtioDevice(options);
  return { device, transport: new ModernPciTransport(device.pci, { log }) };
}

export const LAYOUT: QueueLayout = {
  size: 128,
  descriptorArea: { lo: 0x1000_0000, hi: 0x1 },
  driverArea: { lo: 0xf000_2000, hi: 0x2 },
  deviceArea: { lo: 0x1000_3000, hi: 0x3 },
};

export const NO_HANDLERS: InterruptHandlers = { queue: () => undefined, config: () => undefined };

/** Matches an error by its code. */
export const code = (name: string): unknown => expect.objectContaining({ code: name });

/** The vectors that the device was told: of the configuration, then of each queue. */
export const vectorsOf = (device: FakeVirtioDevice): unknown[] => [
  device.registers.get('config_msix_vector'),
  ...device.queues.map((queue) => queue.get('queue_msix_vector')),
];

/** A logger that keeps the messages of warnings and errors. */
export const warningsIn = (log: string[]): Logger => ({
  ...SILENT,
  warn: (_, message) => log.push(message),
  error: (_, message) => log.push(message),
});

/** The written registers of the common configuration, in order. */
export function writes(device: FakeVirtioDevice): string[] {
  const nameAt = new Map(Object.entries(COMMON).map(([name, [offset]]) => [offset as number, name]));
  return device.pci.accesses
    .filter((one) => one.kind === 'write' && one.bar === BAR && one.offset < NOTIFY_AT)
    .map((one) => `${nameAt.get(one.offset) ?? '?'}=${one.value}`);
}
