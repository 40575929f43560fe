import { describe, expect, it } from 'vitest';
import { code, LAYOUT, make, NO_HANDLERS } from './support.js';

describe('the reset of a queue', () => {
  const RING_RESET = 1n << 40n;

  function running(): ReturnType<typeof make> {
    const made = make();
    made.transport.writeDriverFeatures(RING_RESET);
    made.transport.enableInterrupts(2, NO_HANDLERS);
    for (const queue of [0, 1]) made.transport.enableQueue(queue, LAYOUT);
    return made;
  }

  // Proves: core/virtqueue-reset/1, pci/common-configuration-structure-layout/7
  it('is done when the device says so, whatever other queues are doing', async () => {
    const { device, transport } = running();
    device.queueResetDelay = 3;
    const reset = transport.resetQueue(1, 5000);
    let done = false;
    void reset.then(() => (done = true));
    expect(() => transport.notify(1)).toThrow(/is not enabled/);
    transport.notify(0);
    expect(transport.maxQueueSize(2)).toBe(64);
    expect(done).toBe(false);
    await reset;
    expect(device.queue(1).get('queue_enable')).toBeUndefined();
    expect(device.queue(0).get('queue_enable')).toBe(1);
    expect(device.violations).toEqual([]);
  });

  // Proves: pci/common-configuration-structure-layout/8, pci/common-configuration-structure-layout/9
  it('lets it be enabled again, with another size and its vector', async () => {
    const { device, transport } = running();
    await transport.resetQueue(1, 5000);
    expect(transport.maxQueueSize(1)).toBe(256);
    transport.enableQueue(1, { ...LAYOUT, size: 256 });
    transport.notify(1);
    expect(Object.fromEntries(device.queue(1))).toMatchObject({
      queue_size: 256,
      queue_msix_vector: 2,
      queue_enable: 1,
    });
    expect(device.notified).toEqual([1]);
    expect(device.violations).toEqual([]);
  });

  it('ends with an error where it takes too long', async () => {
    const { device, transport } = running();
    device.queueResetDelay = Infinity;
    await expect(transport.resetQueue(0, 5)).rejects.toThrow(code('DEVICE_QUEUE_RESET_TIMEOUT'));
    expect(() => transport.notify(0)).toThrow(code('DEVICE_QUEUE_UNAVAILABLE'));
  });

  it('is refused without the feature, and for a queue that is not enabled', async () => {
    const without = make();
    without.transport.enableQueue(0, LAYOUT);
    await expect(without.transport.resetQueue(0, 100)).rejects.toThrow(code('FEATURE_NOT_NEGOTIATED'));
    const { device, transport } = running();
    await expect(transport.resetQueue(2, 100)).rejects.toThrow(code('DEVICE_QUEUE_UNAVAILABLE'));
    transport.writeStatus(0);
    await expect(transport.resetQueue(0, 100)).rejects.toThrow(code('FEATURE_NOT_NEGOTIATED'));
    expect(device.violations).toEqual([]);
  });
});
