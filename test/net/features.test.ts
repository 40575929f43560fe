import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  FEATURE_NAMES,
  featureEntry,
  featureMask,
  isFeatureName,
  RECEIVE_OFFLOADS,
  unmetNeeds,
  type FeatureName,
} from '../../src/net/feature-table.js';
import { checkFeatureWishes, chooseFeatures } from '../../src/net/features.js';
import { withCode } from './support.js';

const VERSION_1 = featureMask('VIRTIO_F_VERSION_1');
const maskOf = (...names: FeatureName[]): bigint => names.reduce((sum, name) => sum | featureMask(name), 0n);
const supported = (name: FeatureName): boolean => featureEntry(name).support !== 'unsupported';

describe('the feature table', () => {
  it('names every bit once, and only needs that it has', () => {
    const bits = FEATURE_NAMES.map((name) => featureEntry(name).bit);
    expect(new Set(bits).size).toBe(bits.length);
    for (const name of FEATURE_NAMES) {
      const { needs = [], needsAny = [] } = featureEntry(name);
      for (const need of [...needs, ...needsAny]) expect(isFeatureName(need)).toBe(true);
    }
  });

  it('knows what each feature needs: all of some, one of others', () => {
    expect(unmetNeeds('VIRTIO_NET_F_GUEST_ECN', 0n)).toEqual([
      'VIRTIO_NET_F_GUEST_TSO4 or VIRTIO_NET_F_GUEST_TSO6',
    ]);
    expect(unmetNeeds('VIRTIO_NET_F_GUEST_ECN', maskOf('VIRTIO_NET_F_GUEST_TSO6'))).toEqual([]);
    expect(unmetNeeds('VIRTIO_NET_F_HASH_TUNNEL', maskOf('VIRTIO_NET_F_RSS'))).toEqual([
      'VIRTIO_NET_F_CTRL_VQ',
    ]);
    expect(unmetNeeds('VIRTIO_NET_F_HASH_TUNNEL', maskOf('VIRTIO_NET_F_CTRL_VQ'))).toEqual([
      'VIRTIO_NET_F_RSS or VIRTIO_NET_F_HASH_REPORT',
    ]);
  });

  it('has the receive offloads ask for nothing that is not among them', () => {
    const bits = maskOf(...RECEIVE_OFFLOADS);
    for (const name of RECEIVE_OFFLOADS) expect(unmetNeeds(name, bits)).toEqual([]);
  });
});

describe('the choice of features', () => {
  // Proves: core/feature-bits/1, core/feature-bits/2, core/feature-bits/3, core/feature-bits/5,
  //   core/reserved-feature-bits/1, net/device-configuration-layout/12, net/device-configuration-layout/13
  it('is always part of the offer, of what the driver supports, and complete in itself', () => {
    const names = fc.subarray(FEATURE_NAMES.filter(supported));
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }), names, (bits, extra) => {
        const offered = bits | VERSION_1;
        const { negotiatedBits, negotiated } = chooseFeatures(offered, { extra });
        expect(negotiatedBits & ~offered).toBe(0n);
        expect(maskOf(...negotiated)).toBe(negotiatedBits);
        for (const name of negotiated) {
          expect(['required', 'wanted', ...(extra.includes(name) ? ['optional'] : [])]).toContain(
            featureEntry(name).support,
          );
          expect(unmetNeeds(name, negotiatedBits)).toEqual([]);
        }
        expect(negotiatedBits & VERSION_1).toBe(VERSION_1);
      }),
    );
  });

  it('takes no more than 32 bits on the legacy interface, and needs no VIRTIO_F_VERSION_1 there', () => {
    const { negotiatedBits, offeredBits } = chooseFeatures((1n << 128n) - 1n, {}, { legacy: true });
    expect(offeredBits).toBe(0xffff_ffffn);
    expect(negotiatedBits >> 32n).toBe(0n);
    expect(chooseFeatures(0n, {}, { legacy: true }).negotiated).toEqual([]);
  });

  it('accepts VIRTIO_F_ANY_LAYOUT on the legacy interface only', () => {
    const offered = maskOf('VIRTIO_F_ANY_LAYOUT', 'VIRTIO_F_VERSION_1');
    expect(chooseFeatures(offered, {}, { legacy: true }).negotiated).toEqual(['VIRTIO_F_ANY_LAYOUT']);
    const modern = chooseFeatures(offered);
    expect(modern.negotiated).toEqual(['VIRTIO_F_VERSION_1']);
    expect(modern.oddities).toEqual(['VIRTIO_F_ANY_LAYOUT is offered, which is of the legacy interface']);
  });

  it('says of an offer what no device should offer, and does without it', () => {
    const offered = maskOf('VIRTIO_F_VERSION_1', 'VIRTIO_NET_F_GUEST_TSO4', 'VIRTIO_NET_F_RSS');
    const { negotiated, oddities } = chooseFeatures(offered);
    expect(negotiated).toEqual(['VIRTIO_F_VERSION_1']);
    expect(oddities).toEqual([
      'VIRTIO_NET_F_GUEST_TSO4 is offered without VIRTIO_NET_F_GUEST_CSUM',
      'VIRTIO_NET_F_RSS is offered without VIRTIO_NET_F_CTRL_VQ',
    ]);
    expect(chooseFeatures(VERSION_1).oddities).toEqual([]);
  });

  it('tells what was offered, by name where the bit has one', () => {
    const { offered, negotiated, missing } = chooseFeatures(
      VERSION_1 | (1n << 5n) | (1n << 4n) | (1n << 90n),
    );
    expect(offered).toEqual(['VIRTIO_NET_F_MAC', 'VIRTIO_F_VERSION_1', 'bit 4', 'bit 90']);
    expect(negotiated).toEqual(['VIRTIO_NET_F_MAC', 'VIRTIO_F_VERSION_1']);
    const wanted = FEATURE_NAMES.filter(
      (name) => featureEntry(name).support === 'wanted' && featureEntry(name).only !== 'legacy',
    );
    expect(missing).toEqual(wanted.filter((name) => name !== 'VIRTIO_NET_F_MAC'));
    expect(missing).toContain('VIRTIO_NET_F_MTU');
  });

  it('fails without what is required, and says what the device offers', () => {
    expect(() => chooseFeatures(0n)).toThrow(withCode('DEVICE_FEATURE_MISSING'));
    expect(() => chooseFeatures(0n)).toThrow('it offers nothing');
    expect(() => chooseFeatures(32n, { required: ['VIRTIO_NET_F_MTU'] })).toThrow(
      'VIRTIO_NET_F_MTU, VIRTIO_F_VERSION_1; it offers VIRTIO_NET_F_MAC',
    );
  });
});

describe('the wishes of a program', () => {
  const unsupported = FEATURE_NAMES.filter((name) => !supported(name));

  it.each(['required', 'wanted', 'extra'] as const)(
    'may not name in %s what the driver does not do',
    (list) => {
      for (const name of unsupported) {
        const entry = featureEntry(name);
        expect(() => checkFeatureWishes({ [list]: [name] })).toThrow(withCode('OPTION_INVALID'));
        expect(() => checkFeatureWishes({ [list]: [name] })).toThrow(
          entry.support === 'unsupported' ? entry.why : '',
        );
      }
      expect(unsupported.length).toBeGreaterThan(0);
    },
  );

  it('may not contradict themselves', () => {
    const name = 'VIRTIO_NET_F_MTU';
    for (const list of ['required', 'wanted', 'extra']) {
      expect(() => checkFeatureWishes({ [list]: [name], unwanted: [name] })).toThrow(
        withCode('OPTION_INVALID'),
      );
    }
    expect(() => checkFeatureWishes({ unwanted: ['VIRTIO_F_VERSION_1'] })).toThrow(
      withCode('OPTION_INVALID'),
    );
    expect(() => checkFeatureWishes({ extra: [name] })).not.toThrow();
  });
});
