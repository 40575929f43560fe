/** Which receive offloads the device makes use of (VIRTIO 1.3, 5.1.6.5.8). */
import { describe, requireList } from '../arguments.js';
import {
  featureEntry,
  featureMask,
  RECEIVE_OFFLOADS,
  unmetNeeds,
  type FeatureName,
} from '../feature-table.js';
import type { NegotiatedFeatures } from '../features.js';
import { invalid, requireFeatures } from './requirements.js';

/** All that the command knows; the bits are those of the features. */
const OFFLOADS: readonly FeatureName[] = [...RECEIVE_OFFLOADS, 'VIRTIO_NET_F_GUEST_UFO'];

/**
 * The data of VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET.
 *
 * @throws UsageError FEATURE_NOT_NEGOTIATED, OPTION_INVALID
 */
export function encodeGuestOffloads(names: readonly FeatureName[], features: NegotiatedFeatures): Uint8Array {
  requireList('The list of receive offloads', names);
  const at = names.findIndex((name) => !OFFLOADS.includes(name));
  if (at >= 0) {
    throw invalid(`${describe(names[at])} is no receive offload`, `Name some of ${OFFLOADS.join(', ')}.`);
  }
  requireFeatures(features, 'A receive offload', ...names);
  const bits = names.reduce((sum, name) => sum | featureMask(name), 0n);
  for (const name of names) {
    const unmet = unmetNeeds(name, bits);
    if (unmet.length > 0) {
      throw invalid(`${name} needs ${unmet.join(' and ')}`, `See VIRTIO 1.3, ${featureEntry(name).section}.`);
    }
  }
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, bits, true);
  return bytes;
}
