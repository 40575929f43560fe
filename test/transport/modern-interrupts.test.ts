import { describe, expect, it } from 'vitest';
import { SILENT } from '../../src/log.js';
import { ModernPciTransport } from '../../src/transport/modern-pci.js';
import type { InterruptOptions } from '../../src/transport/pci-interrupts.js';
import { FakeVirtioDevice, NO_VECTOR } from './fake-virtio-device.js';
import { code, LAYOUT, make, NO_HANDLERS, vectorsOf, warningsIn, writes } from './support.js';

describe('interrupts', () => {
  /** Which handlers each vector calls, with three queues. */
  function routes(
    msixVectors: number,
    interrupts: InterruptOptions = {},
  ): { calls: string[][]; device: FakeVirtioDevice } {
    const device = new FakeVirtioDevice({ msixVectors });
    const transport = new ModernPciTransport(device.pci, { log: SILENT, ...interrupts });
    const calls: string[] = [];
    transport.enableInterrupts(3, {
      queue: (queue) => calls.push(`queue ${queue}`),
      config: () => calls.push('config'),
    });
    for (const queue of [0, 1, 2]) transport.enableQueue(queue, { ...LAYOUT, size: 64 });
    return { device, calls: device.pci.handlers.map((handler) => (handler(), calls.splice(0))) };
  }
  // Proves: pci/msi-x-vector-configuration/1, pci/msi-x-vector-configuration/4
  it.each([4, 5, 2048])('gives each event a vector of its own, of %i', (available) => {
    const { calls, device } = routes(available);
    expect(calls).toEqual([['config'], ['queue 0'], ['queue 1'], ['queue 2']]);
    expect(vectorsOf(device)).toEqual([0, 1, 2, 3]);
  });

  // Proves: pci/msi-x-vector-configuration/1, pci/msi-x-vector-configuration/4
  it('lets the queues share one, of 2', () => {
    const { calls, device } = routes(2);
    expect(calls).toEqual([['config'], ['queue 0', 'queue 1', 'queue 2']]);
    expect(vectorsOf(device)).toEqual([0, 1, 1, 1]);
  });

  // Proves: pci/msi-x-vector-configuration/1, pci/msi-x-vector-configuration/4
  it('lets neighbouring queues share where there are too few', () => {
    const { calls, device } = routes(3);
    expect(calls).toEqual([['config'], ['queue 0', 'queue 1'], ['queue 2']]);
    expect(vectorsOf(device)).toEqual([0, 1, 1, 2]);
  });

  it.each([
    [129, 129],
    [33, 33],
    [2, 2],
  ])('serves many queues with %i vectors', (msixVectors, used) => {
    const { device, transport } = make({ msixVectors, queueSizes: Array<number>(129).fill(128) });
    const calls: number[] = [];
    transport.enableInterrupts(128, { ...NO_HANDLERS, queue: (queue) => calls.push(queue) });
    for (let queue = 0; queue < 129; queue++) transport.enableQueue(queue, LAYOUT);
    expect(device.pci.handlers).toHaveLength(used);
    for (const handler of device.pci.handlers) handler();
    // Each queue is heard once, and the vector that the device was told for it leads to it.
    expect(calls).toEqual(Array.from({ length: 128 }, (_, queue) => queue));
    for (let queue = 0; queue < 128; queue++) {
      calls.length = 0;
      device.pci.handlers[device.queue(queue).get('queue_msix_vector') ?? -1]?.();
      expect(calls).toContain(queue);
      expect(calls.length).toBeLessThanOrEqual(Math.ceil(128 / (used - 1)));
    }
    expect(device.queue(128).get('queue_msix_vector')).toBe(NO_VECTOR);
  });

  it('go to an eventfd of somebody else, for a queue that has a vector of its own', () => {
    const { device, transport } = make({ msixVectors: 3 });
    const eventFd = (queue: number): number => 100 + queue;
    const calls: number[] = [];
    transport.enableInterrupts(2, { ...NO_HANDLERS, queue: (queue) => calls.push(queue), eventFd });
    expect(device.pci.eventFds).toEqual([undefined, 100, 101]);
    transport.enableInterrupts(3, { ...NO_HANDLERS, queue: (queue) => calls.push(queue), eventFd });
    expect(device.pci.eventFds).toEqual([undefined, undefined, 102]);
    for (const handler of device.pci.handlers) handler();
    expect(calls).toEqual([0, 1]);
  });

  it('uses no more than it is told', () => {
    const { calls, device } = routes(5, { maxVectors: 2 });
    expect(calls).toEqual([['config'], ['queue 0', 'queue 1', 'queue 2']]);
    expect(vectorsOf(device)).toEqual([0, 1, 1, 1]);
  });

  it('leaves a queue beyond those that get interrupts without a vector', () => {
    const { device, transport } = make({ msixVectors: 8 });
    transport.enableInterrupts(2, NO_HANDLERS);
    for (const queue of [0, 1, 2]) transport.enableQueue(queue, { ...LAYOUT, size: 64 });
    expect(vectorsOf(device)).toEqual([0, 1, 2, NO_VECTOR]);
  });

  // Proves: pci/notification-of-device-configuration-changes/1, pci/msi-x-vector-configuration/1, pci/msi-x-vector-configuration/4
  it('lets everything share the only one', () => {
    const { calls, device } = routes(1);
    expect(calls).toEqual([['config', 'queue 0', 'queue 1', 'queue 2']]);
    expect(vectorsOf(device)).toEqual([0, 0, 0, 0]);
  });

  it('says how to go on where there are none', () => {
    const { transport } = make({ msixVectors: 0 });
    expect(() => transport.enableInterrupts(2, NO_HANDLERS)).toThrow(/\{ interrupts: false \}/);
    expect(() => transport.enableInterrupts(2, NO_HANDLERS)).toThrow(code('DEVICE_VECTOR_REFUSED'));
  });

  it('maps queues to no vector while interrupts are off, and to nothing where there are no vectors', () => {
    const muted = make();
    muted.transport.enableInterrupts(1, NO_HANDLERS);
    muted.transport.disableInterrupts();
    expect(vectorsOf(muted.device)).toEqual(Array(4).fill(NO_VECTOR));
    muted.transport.enableQueue(0, LAYOUT);
    expect(muted.device.queue(0).get('queue_msix_vector')).toBe(NO_VECTOR);

    const without = make({ msixVectors: 0 });
    without.transport.enableQueue(0, LAYOUT);
    expect(writes(without.device).some((one) => one.startsWith('queue_msix_vector'))).toBe(false);
    expect(without.device.queue(0).get('queue_enable')).toBe(1);
  });

  // Proves: pci/msi-x-vector-configuration/5, pci/msi-x-vector-configuration/6
  it('makes do with fewer vectors where the device refuses some', () => {
    const log: string[] = [];
    const { device, transport } = make({ refuseVectorsFrom: 2 }, warningsIn(log));
    transport.enableInterrupts(3, NO_HANDLERS);
    for (const queue of [0, 1, 2]) transport.enableQueue(queue, { ...LAYOUT, size: 64 });
    expect(vectorsOf(device)).toEqual([0, 1, 1, 1]);
    expect(device.pci.handlers).toHaveLength(2);
    expect(log).toHaveLength(1);
  });

  // Proves: pci/msi-x-vector-configuration/5, pci/msi-x-vector-configuration/6
  it('makes do with one vector, and with INTx, where the device can map no more', () => {
    const one = make({ refuseVectorsFrom: 1 });
    one.transport.enableInterrupts(3, NO_HANDLERS);
    one.transport.enableQueue(0, LAYOUT);
    expect(vectorsOf(one.device)).toEqual([0, 0, 0, 0]);

    const none = make({ refuseVectorsFrom: 0 });
    none.device.pci.hasIntx = true;
    none.transport.enableInterrupts(3, NO_HANDLERS);
    none.transport.enableQueue(0, LAYOUT);
    expect(vectorsOf(none.device)).toEqual([NO_VECTOR, NO_VECTOR, NO_VECTOR, NO_VECTOR]);
    expect(none.device.pci.events.filter((one) => one.endsWith('MSI-X'))).toHaveLength(3);
    expect(none.device.pci.intxHandler).toBeDefined();
  });

  it('makes do with what the kernel has left', () => {
    const { device, transport } = make();
    device.pci.kernelVectors = 3;
    transport.enableInterrupts(3, NO_HANDLERS);
    expect(device.pci.handlers).toHaveLength(2);
    device.pci.kernelVectors = 0;
    expect(() => transport.enableInterrupts(3, NO_HANDLERS)).toThrow(/no such number of vectors/);
    device.pci.hasIntx = true;
    transport.enableInterrupts(3, NO_HANDLERS);
    expect(device.pci.intxHandler).toBeDefined();
  });

  it('takes the kind that it is told, and says what is missing', () => {
    const tell = (interruptMode: 'msix' | 'intx', hasIntx: boolean, msixVectors: number): string => {
      const device = new FakeVirtioDevice({ msixVectors, refuseVectorsFrom: 0 });
      device.pci.hasIntx = hasIntx;
      const transport = new ModernPciTransport(device.pci, { log: SILENT, interruptMode });
      try {
        transport.enableInterrupts(2, NO_HANDLERS);
        return device.pci.events.at(-1) ?? '';
      } catch (error) {
        expect(error).toMatchObject({ code: 'DEVICE_VECTOR_REFUSED' });
        return (error as Error).message;
      }
    };
    expect(tell('intx', true, 4)).toBe('enable INTx');
    expect(tell('intx', false, 4)).toMatch(/has no INTx/);
    expect(tell('msix', true, 0)).toMatch(/has no MSI-X vectors/);
    expect(tell('msix', true, 4)).toMatch(/refused vector 0 for configuration changes/);
  });

  it('refuses a queue whose vector is refused after all', () => {
    const { device, transport } = make();
    transport.enableInterrupts(3, NO_HANDLERS);
    device.refuseVectorsFrom = 2;
    transport.enableQueue(0, LAYOUT);
    expect(() => transport.enableQueue(1, LAYOUT)).toThrow(/refused vector 2 for queue 1/);
    expect(device.queue(1).get('queue_enable')).toBeUndefined();
  });

  describe('by INTx', () => {
    function pin(): {
      device: FakeVirtioDevice;
      calls: string[];
      raise: (isr: number) => string[];
      close: () => Promise<void>;
    } {
      const { device, transport } = make({ msixVectors: 0 });
      device.pci.hasIntx = true;
      const calls: string[] = [];
      transport.enableInterrupts(2, {
        queue: (queue) => calls.push(`queue ${queue}`),
        config: () => calls.push('config'),
        spurious: () => calls.push('spurious'),
      });
      for (const queue of [0, 1, 2]) transport.enableQueue(queue, { ...LAYOUT, size: 64 });
      const raise = (isr: number): string[] => {
        device.isr = isr;
        device.isrReads = 0;
        device.pci.intxHandler?.();
        expect(device.isrReads).toBe(1);
        return calls.splice(0);
      };
      return { device, calls, raise, close: () => transport.close() };
    }

    // Proves: pci/notification-of-device-configuration-changes/1
    it('asks the device once for each interrupt what it is about', () => {
      const { raise, device } = pin();
      expect(raise(1)).toEqual(['queue 0', 'queue 1']);
      expect(raise(2)).toEqual(['config']);
      expect(raise(3)).toEqual(['config', 'queue 0', 'queue 1']);
      expect(raise(0)).toEqual(['spurious']);
      expect(raise(0x80)).toEqual(['spurious']);
      expect(device.violations).toEqual([]);
    });

    it('has all look where the device can not be asked', () => {
      const { device, calls } = pin();
      device.pci.failingAccess = device.pci.accessCount + 1;
      device.pci.intxHandler?.();
      expect(calls).toEqual(['config', 'queue 0', 'queue 1']);
    });

    it('has the device take its interrupt back while it closes, and tells nobody', async () => {
      const { raise, device, close } = pin();
      device.resetDelay = 3;
      const closing = close();
      expect(raise(3)).toEqual([]);
      await closing;
      expect(device.pci.events).toContain('disable INTx');
    });
  });

  // Proves: pci/isr-status-capability/1
  it('does not ask for the ISR status with MSI-X', () => {
    const { device, transport } = make({ msixVectors: 1 });
    transport.enableInterrupts(1, NO_HANDLERS);
    device.pci.handlers[0]?.();
    expect(device.isrReads).toBe(0);
  });

  it('turns them off, and calls no handler from then on, not even within one interrupt', () => {
    const { device, transport } = make({ msixVectors: 1 });
    const calls: number[] = [];
    transport.enableInterrupts(3, {
      config: () => undefined,
      queue: (queue) => {
        calls.push(queue);
        if (queue === 1) transport.disableInterrupts();
      },
    });
    device.pci.handlers[0]?.();
    expect(calls).toEqual([0, 1]);
    expect(device.registers.get('config_msix_vector')).toBe(NO_VECTOR);
    expect(device.pci.events.filter((one) => one === 'disable MSI-X')).toHaveLength(1);
    transport.disableInterrupts();
    expect(device.pci.events.filter((one) => one === 'disable MSI-X')).toHaveLength(1);
  });

  it('replaces the handlers when turned on again', () => {
    const { device, transport } = make();
    const calls: string[] = [];
    for (const name of ['old', 'new']) {
      transport.enableInterrupts(1, { ...NO_HANDLERS, config: () => calls.push(name) });
    }
    device.pci.handlers[0]?.();
    expect(calls).toEqual(['new']);
  });

  it('passes on whether they keep the event loop alive', () => {
    const { device, transport } = make();
    transport.setKeepAlive(false);
    expect(device.pci.keepAlive).toBe(false);
  });
});
