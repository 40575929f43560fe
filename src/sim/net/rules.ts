/** What was negotiated, as far as packets are concerned. */
import { hasFeature, type SimulatedFeature } from '../features.js';
import { headerFormat, type HeaderFormat } from './header.js';

export class NetRules {
  readonly features: bigint;
  readonly legacy: boolean;
  readonly header: HeaderFormat;
  /** Whether frames may be spread over several receive buffers. */
  readonly mergeable: boolean;
  /** Whether the driver may cut its buffers as it likes (VIRTIO_F_ANY_LAYOUT, or the modern interface). */
  readonly anyLayout: boolean;

  constructor(features: bigint, legacy: boolean) {
    this.features = features;
    this.legacy = legacy;
    this.header = headerFormat(features, legacy);
    this.mergeable = hasFeature(features, 'VIRTIO_NET_F_MRG_RXBUF');
    this.anyLayout = !legacy || hasFeature(features, 'VIRTIO_F_ANY_LAYOUT');
  }

  has(feature: SimulatedFeature): boolean {
    return hasFeature(this.features, feature);
  }
}
