import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FEATURE_NAMES, featureEntry, featureMask, isFeatureName } from '../../src/net/feature-table.js';
import { chooseFeatures } from '../../src/net/features.js';
import { withCode } from './support.js';

const VERSION_1 = featureMask('VIRTIO_F_VERSION_1');

describe('the feature table', () => {
  it('names every bit once, and only needs that it has', () => {
    const bits = FEATURE_NAMES.map((name) => featureEntry(name).bit);
    expect(new Set(bits).size).toBe(bits.length);
    for (const name of FEATURE_NAMES) {
      for (const need of featureEntry(name).needs ?? []) expect(isFeatureName(need)).toBe(true);
    }
  });
});

describe('the choice of features', () => {
  // Proves: core/feature-bits/1, core/feature-bits/2, core/feature-bits/3, core/feature-bits/5,
  //   core/reserved-feature-bits/1
  it('is always part of the offer, of what the driver supports, and complete in itself', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }), (bits) => {
        const offered = bits | VERSION_1;
        const { negotiatedBits } = chooseFeatures(offered);
        expect(negotiatedBits & ~offered).toBe(0n);
        for (const name of FEATURE_NAMES.filter((each) => (negotiatedBits & featureMask(each)) !== 0n)) {
          expect(featureEntry(name).support).not.toBe('unsupported');
          for (const need of featureEntry(name).needs ?? []) {
            expect(isFeatureName(need) && (negotiatedBits & featureMask(need)) !== 0n).toBe(true);
          }
        }
        expect(negotiatedBits & VERSION_1).toBe(VERSION_1);
      }),
    );
  });

  it('tells what was offered, by name where the bit has one', () => {
    const { offered, negotiated, missing } = chooseFeatures(
      VERSION_1 | (1n << 5n) | (1n << 4n) | (1n << 90n),
    );
    expect(offered).toEqual(['VIRTIO_NET_F_MAC', 'VIRTIO_F_VERSION_1', 'bit 4', 'bit 90']);
    expect(negotiated).toEqual(['VIRTIO_NET_F_MAC', 'VIRTIO_F_VERSION_1']);
    expect(missing).toEqual([
      'VIRTIO_NET_F_MTU',
      'VIRTIO_NET_F_STATUS',
      'VIRTIO_F_RING_EVENT_IDX',
      'VIRTIO_F_ACCESS_PLATFORM',
      'VIRTIO_F_RING_PACKED',
    ]);
  });

  it('fails without what is required, and says what the device offers', () => {
    expect(() => chooseFeatures(0n)).toThrow(withCode('DEVICE_FEATURE_MISSING'));
    expect(() => chooseFeatures(0n)).toThrow('it offers nothing');
    expect(() => chooseFeatures(32n, { required: ['VIRTIO_NET_F_MTU'] })).toThrow(
      'VIRTIO_NET_F_MTU, VIRTIO_F_VERSION_1; it offers VIRTIO_NET_F_MAC',
    );
  });
});
