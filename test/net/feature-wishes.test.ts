/** What a program that leaves features out is told about them. */
import { describe, expect, it } from 'vitest';
import { NetDevice } from '../../src/index.js';
import { featureMask } from '../../src/net/feature-table.js';
import { chooseFeatures } from '../../src/net/features.js';
import { createSimulatedDevice } from '../../src/sim/index.js';
import { expectNothingLeft } from './support.js';

const VERSION_1 = featureMask('VIRTIO_F_VERSION_1');
const MAC = featureMask('VIRTIO_NET_F_MAC');

describe('a feature that the program left out', () => {
  it('is not missing where the device does not offer it', () => {
    const wanted = ['VIRTIO_NET_F_MAC', 'VIRTIO_NET_F_MTU'] as const;
    expect(chooseFeatures(VERSION_1 | MAC, { wanted }).missing).toEqual(['VIRTIO_NET_F_MTU']);
    const { missing } = chooseFeatures(VERSION_1 | MAC, { unwanted: ['VIRTIO_F_RING_PACKED'] });
    expect(missing).toContain('VIRTIO_F_ACCESS_PLATFORM');
    expect(missing).not.toContain('VIRTIO_F_RING_PACKED');
    expect(missing).not.toContain('VIRTIO_NET_F_MAC');
  });

  it.each([{ wanted: ['VIRTIO_NET_F_MAC'] }, { unwanted: ['VIRTIO_F_ACCESS_PLATFORM'] }] as const)(
    'is named where the device refuses the rest: %j',
    async (features) => {
      const sim = createSimulatedDevice();
      await expect(NetDevice.open(sim.transport, { features })).rejects.toMatchObject({
        code: 'DEVICE_FEATURES_REFUSED',
        remedy: expect.stringContaining('VIRTIO_F_ACCESS_PLATFORM') as unknown,
      });
      expectNothingLeft(sim);
    },
  );

  it('is not asked for where nothing was left out', async () => {
    const sim = createSimulatedDevice({ acceptFeatures: () => false });
    await expect(NetDevice.open(sim.transport)).rejects.toMatchObject({
      code: 'DEVICE_FEATURES_REFUSED',
      remedy: expect.stringContaining('fewer features') as unknown,
    });
  });
});
