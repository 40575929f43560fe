import { describe, expect, it } from 'vitest';
import { resetDevice } from '../../src/net/initialisation.js';
import { code, LAYOUT, make, NO_HANDLERS, warningsIn } from './support.js';

describe('a device that is taken away', () => {
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  it('is told of once, when the kernel asks for it', async () => {
    const { device, transport } = make();
    let calls = 0;
    transport.onRemoval(() => calls++);
    device.pci.removalHandler?.();
    expect(calls).toBe(0);
    device.gone = true;
    expect(() => transport.readStatus()).toThrow(code('DEVICE_REMOVED'));
    await turn();
    expect(calls).toBe(1);
    await transport.close();
    expect(device.pci.removalHandler).toBeUndefined();
  });

  it('is not told of to whom no longer listens', async () => {
    const { device, transport } = make();
    let calls = 0;
    transport.onRemoval(() => calls++);
    transport.onRemoval(undefined);
    expect(device.pci.removalHandler).toBeUndefined();
    transport.onRemoval(() => calls++);
    device.pci.removalHandler?.();
    transport.onRemoval(undefined);
    await turn();
    expect(calls).toBe(0);
  });

  it('shows in every call that reads, and is told of to whom listens late', async () => {
    const { device, transport } = make({ features: 1n << 40n });
    transport.writeDriverFeatures(1n << 40n);
    transport.enableQueue(0, LAYOUT);
    device.gone = true;
    const calls: (() => unknown)[] = [
      () => transport.readStatus(),
      () => transport.readDeviceFeatures(),
      () => transport.queueCount,
      () => transport.maxQueueSize(1),
      () => transport.enableQueue(1, LAYOUT),
      () => transport.enableInterrupts(2, NO_HANDLERS),
      () => transport.readConfig(0, 1),
      () => transport.readConfig(0, 4),
      () => transport.readConfigGeneration(),
    ];
    for (const call of calls) expect(call, call.toString()).toThrow(code('DEVICE_REMOVED'));
    await expect(transport.resetQueue(0, 5000)).rejects.toThrow(code('DEVICE_REMOVED'));
    await expect(resetDevice(transport, 5000)).rejects.toThrow(code('DEVICE_REMOVED'));
    let told = 0;
    transport.onRemoval(() => told++);
    await turn();
    expect(told).toBe(1);
  });

  it('shows when a queue that was reset is to be enabled again', async () => {
    const { device, transport } = make({ features: 1n << 40n });
    transport.writeDriverFeatures(1n << 40n);
    transport.enableQueue(0, LAYOUT);
    await transport.resetQueue(0, 5000);
    device.gone = true;
    expect(() => transport.enableQueue(0, LAYOUT)).toThrow(code('DEVICE_REMOVED'));
  });

  it('is closed without waiting for it, or resetting what is not there', async () => {
    const log: string[] = [];
    const { device, transport } = make({}, warningsIn(log));
    transport.enableInterrupts(2, NO_HANDLERS);
    device.gone = true;
    await transport.close();
    expect(device.pci.events).not.toContain('reset function');
    expect(device.pci.events.at(-1)).toBe('close function');
    expect(log).toEqual([]);
  });

  it('reads all ones where that is what the device has to say', () => {
    const { transport } = make({ config: new Uint8Array(8).fill(0xff), features: 0xffff_ffff_ffff_ffffn });
    expect(transport.readConfig(0, 1)).toBe(0xff);
    expect(transport.readConfig(4, 4)).toBe(0xffff_ffff);
    expect(transport.readDeviceFeatures()).toBe(0xffff_ffff_ffff_ffffn);
  });
});
