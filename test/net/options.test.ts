import { describe, expect, it } from 'vitest';
import { NetDevice, type NetDeviceOptions } from '../../src/index.js';
import { createSimulatedDevice, expectNothingLeft, withCode } from './support.js';

/** Opens a device that must not be opened, and checks that nothing came of it. */
async function refuse(options: unknown): Promise<string> {
  const sim = createSimulatedDevice({ host: null });
  const error: unknown = await NetDevice.open(sim.transport, options as NetDeviceOptions).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toEqual(withCode('OPTION_INVALID'));
  expectNothingLeft(sim);
  return (error as Error).message;
}

describe('options that can not be', () => {
  it.each<[unknown]>([
    [{ queuePairs: 0 }],
    [{ queuePairs: 32_769 }],
    [{ queuePairs: 1.5 }],
    [{ bufferSize: 100 }],
    [{ bufferSize: 1 << 20 }],
    [{ controlTimeout: 0 }],
    [{ maxVectors: 0 }],
    [{ recovery: 'never' }],
    [{ addressing: 'virtual' }],
    [{ hugePages: '4M' }],
    [{ pciInterface: 'transitional' }],
    [{ interruptMode: 'msi' }],
    [{ queuePair: 2 }],
  ])('are refused by name: %o', async (options) => {
    expect(await refuse(options)).toContain(Object.keys(options as object)[0]);
  });

  it.each<[NetDeviceOptions, string]>([
    [{ interrupts: false, interruptMode: 'msix' }, 'interruptMode'],
    [{ interrupts: false, maxVectors: 3 }, 'maxVectors'],
    [{ interruptMode: 'intx', maxVectors: 1 }, 'maxVectors'],
    [{ queuePairs: 2, features: { unwanted: ['VIRTIO_NET_F_CTRL_VQ'] } }, 'queuePairs'],
    [{ queuePairs: 2, features: { unwanted: ['VIRTIO_NET_F_MQ', 'VIRTIO_NET_F_RSS'] } }, 'queuePairs'],
    [{ addressing: 'iova', features: { unwanted: ['VIRTIO_F_ACCESS_PLATFORM'] } }, 'addressing'],
    [{ pciInterface: 'legacy', features: { required: ['VIRTIO_F_RING_PACKED'] } }, 'pciInterface'],
  ])('are refused where they contradict each other: %o', async (options, name) => {
    const message = await refuse(options);
    expect(message).toContain(name);
    expect(message).not.toContain('open already');
  });

  it.each<[NetDeviceOptions]>([
    [{ pciInterface: 'legacy' }],
    [{ interruptMode: 'intx' }],
    [{ hugePages: '2M' }],
    [{ maxVectors: 2 }],
  ])('are refused where they concern cards, and a transport is given: %o', async (options) => {
    expect(await refuse(options)).toContain('open already');
  });
});
