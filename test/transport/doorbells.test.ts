import { describe, expect, it } from 'vitest';
import { chooseFeatures } from '../../src/net/features.js';
import { negotiate } from '../../src/net/initialisation.js';
import { BAR, MULTIPLIER, NOTIFY_AT } from './fake-virtio-device.js';
import { code, LAYOUT, make } from './support.js';

describe('notifications', () => {
  const NOTIFICATION_DATA = 1n << 38n;
  const NOTIF_CONFIG_DATA = 1n << 39n;

  // Proves: pci/available-buffer-notifications/2, pci/available-buffer-notifications/4
  it('carry the position in the ring where that was negotiated', () => {
    const { device, transport } = make();
    transport.writeDriverFeatures(NOTIFICATION_DATA);
    for (const queue of [0, 1]) transport.enableQueue(queue, LAYOUT);
    transport.notify(1, 0xffff);
    transport.notify(0, 0);
    expect(device.pci.accesses.slice(-2)).toEqual([
      { kind: 'write', bar: BAR, offset: NOTIFY_AT + MULTIPLIER, width: 4, value: 0xffff_0001 },
      { kind: 'write', bar: BAR, offset: NOTIFY_AT, width: 4, value: 0 },
    ]);
    expect(device.violations).toEqual([]);
  });

  // Proves: pci/available-buffer-notifications/5, pci/available-buffer-notifications/6
  it.each([NOTIF_CONFIG_DATA, NOTIF_CONFIG_DATA | NOTIFICATION_DATA])(
    'name the queue as the device wants it',
    (features) => {
      const { device, transport } = make({ notifConfigDataOf: (queue) => 0xff00 + queue });
      transport.writeDriverFeatures(features);
      for (const queue of [0, 1]) transport.enableQueue(queue, LAYOUT);
      transport.notify(1, 0x8001);
      transport.notify(0, 0x8002);
      expect(device.notified).toEqual([1, 0]);
      expect(device.positions).toEqual((features & NOTIFICATION_DATA) === 0n ? [] : [0x8001, 0x8002]);
      expect(device.violations).toEqual([]);
    },
  );

  // Proves: core/reserved-feature-bits/12
  it('name the queue as the device wants it whenever it offers that', () => {
    const features = (1n << 32n) | NOTIF_CONFIG_DATA;
    const { device, transport } = make({ features, notifConfigDataOf: (queue) => 0x8000 + queue });
    negotiate(transport, (offered) => chooseFeatures(offered));
    transport.enableQueue(1, LAYOUT);
    transport.notify(1);
    expect(device.pci.accesses.at(-1)).toMatchObject({ width: 2, value: 0x8001 });
    expect(device.violations).toEqual([]);
  });

  it('go to one place where the multiplier is 0, and to a page of their own where it is large', () => {
    for (const [multiplier, notifyLength] of [
      [0, 2],
      [4096, 0x3000],
    ] as const) {
      const { device, transport } = make({ multiplier, notifyLength });
      for (const queue of [0, 1, 2]) transport.enableQueue(queue, { ...LAYOUT, size: 64 });
      for (const queue of [2, 1, 0]) transport.notify(queue);
      expect(device.notified).toEqual([2, 1, 0]);
      expect(device.violations).toEqual([]);
      expect(device.pci.slowAccesses).toBe(0);
    }
  });

  it('are refused where 32 bits do not fit, or not aligned', () => {
    const short = make({ multiplier: 0, notifyLength: 2 });
    short.transport.writeDriverFeatures(NOTIFICATION_DATA);
    expect(() => short.transport.enableQueue(0, LAYOUT)).toThrow(/beyond the 2 bytes for notifications/);
    const odd = make({ multiplier: 2 });
    odd.transport.writeDriverFeatures(NOTIFICATION_DATA);
    odd.transport.enableQueue(0, LAYOUT);
    expect(() => odd.transport.enableQueue(1, LAYOUT)).toThrow(/where 4 bytes are not aligned/);
    expect(odd.device.queue(1).get('queue_enable')).toBeUndefined();
  });

  it('need registers that a device may lack', () => {
    const { device, transport } = make({ commonLength: 56 });
    for (const features of [NOTIF_CONFIG_DATA, 1n << 40n]) {
      expect(() => transport.writeDriverFeatures(features)).toThrow(code('PCI_CAPABILITY_INVALID'));
    }
    expect(device.driverFeatures).toEqual([0, 0]);
    transport.writeDriverFeatures(NOTIFICATION_DATA);
  });
});
