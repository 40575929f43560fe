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
    [{ queueSize: Number.NaN }],
    [{ poolSize: '512' }],
    [{ budget: Symbol('many') }],
    [{ recovery: Symbol('always') }],
    [{ recovery: {} }],
    [{ interrupts: 'false' }],
    [{ interrupts: 0 }],
    [{ takeOver: 'no' }],
    [{ takeOver: null }],
    [{ logger: {} }],
    [{ logger: true }],
    [{ logger: null }],
    [{ signal: new AbortController() }],
    [{ signal: null }],
    [{ features: null }],
    [{ features: ['VIRTIO_NET_F_MAC'] }],
    [{ features: 'VIRTIO_NET_F_MAC' }],
    [{ features: { require: ['VIRTIO_NET_F_MAC'] } }],
    [{ features: { required: 'VIRTIO_NET_F_MAC' } }],
    [{ features: { unwanted: null } }],
  ])('are refused by name: %o', async (options) => {
    expect(await refuse(options)).toContain(Object.keys(options as object)[0]);
  });

  it.each<[unknown]>([[null], ['queueSize'], [5], [['VIRTIO_NET_F_MAC']]])(
    'are refused where they are no options: %o',
    async (options) => {
      expect(await refuse(options)).toMatch(
        /^The group of options is .*\. Give an object with some of features, /,
      );
    },
  );

  it.each<[unknown]>([[{ required: [undefined] }], [{ extra: [Symbol('x')] }], [{ wanted: ['toString'] }]])(
    'are refused where they name no feature: %o',
    async (features) => {
      expect(await refuse({ features })).toContain('is not the name of a feature');
    },
  );

  it.each<[NetDeviceOptions, string]>([
    [{ features: { extra: ['VIRTIO_NET_F_GUEST_TSO4'] } }, 'VIRTIO_NET_F_GUEST_CSUM'],
    [
      { features: { required: ['VIRTIO_NET_F_HOST_TSO4'], unwanted: ['VIRTIO_NET_F_CSUM'] } },
      'VIRTIO_NET_F_CSUM',
    ],
    [{ features: { wanted: ['VIRTIO_NET_F_MQ'] } }, 'VIRTIO_NET_F_CTRL_VQ'],
    [{ features: { extra: ['VIRTIO_NET_F_HASH_TUNNEL'] } }, 'VIRTIO_NET_F_RSS or VIRTIO_NET_F_HASH_REPORT'],
  ])('are refused where they ask for a feature and leave out what it needs: %o', async (options, needed) => {
    expect(await refuse(options)).toContain(`needs ${needed}, which the options leave out`);
  });

  it.each<[NetDeviceOptions, string]>([
    [{ interrupts: false, interruptMode: 'msix' }, 'interruptMode'],
    [{ interrupts: false, maxVectors: 3 }, 'maxVectors'],
    [{ interruptMode: 'intx', maxVectors: 1 }, 'maxVectors'],
    [{ queuePairs: 2, features: { unwanted: ['VIRTIO_NET_F_CTRL_VQ'] } }, 'queuePairs'],
    [{ queuePairs: 2, features: { unwanted: ['VIRTIO_NET_F_MQ', 'VIRTIO_NET_F_RSS'] } }, 'queuePairs'],
    [{ queuePairs: 2, features: { wanted: ['VIRTIO_F_ACCESS_PLATFORM'] } }, 'queuePairs'],
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

describe('a device that can not be', () => {
  it.each<[unknown]>([
    [undefined],
    [null],
    [7],
    [{}],
    [{ close: () => undefined }],
    [Object.create(null)],
    [createSimulatedDevice()],
  ])('is refused: %o', async (target) => {
    await expect(NetDevice.open(target as string)).rejects.toThrow(withCode('OPTION_INVALID'));
  });
});

describe('what a call is given', () => {
  it('is refused in words where it can not be, and the device goes on', async () => {
    const sim = createSimulatedDevice();
    const device = await NetDevice.open(sim.transport);
    await device.start();
    const controller = { signal: new AbortController() } as unknown as { signal: AbortSignal };
    const frame = new Uint8Array(60);
    for (const options of [null, 5, [], { limt: 5 }, { limit: '5' }, { limit: 0 }, controller]) {
      expect(() => device.frames(options as object)).toThrow(withCode('OPTION_INVALID'));
    }
    await expect(device.send(frame, controller)).rejects.toThrow(withCode('OPTION_INVALID'));
    await expect(device.flush(controller)).rejects.toThrow(withCode('OPTION_INVALID'));
    expect(device.statistics().transmit.frames).toBe(0);
    await device.send(frame);
    expect(device.statistics().transmit.frames).toBe(1);
    await device.close();
    expectNothingLeft(sim);
  });
});
