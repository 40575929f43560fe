import { UsageError } from '../errors.js';
import { HEADROOM } from '../memory/packet-constants.js';
import type { NegotiatedFeatures } from './features.js';
import { ETHERNET_HEADER_SIZE, VLAN_TAG_SIZE } from './header-constants.js';
import { receivesLargeFrames } from './receive-header.js';

/** What a receive buffer must hold besides its header, whatever the MTU (5.1.6.3.1: 1526 bytes with header). */
const LEAST_FRAME_CAPACITY = 1514;
/** The largest frame that is still to be cut into several: Ethernet and IPv6 headers, and 65535 bytes (5.1.6.3). */
export const LARGE_FRAME_CAPACITY = 65_589;

/**
 * The length in bytes of the longest frame, or segment of one, that a packet buffer is to hold.
 *
 * Without VIRTIO_NET_F_MRG_RXBUF a buffer must hold any frame that may come; with it, by default, any that the MTU
 * allows, so that only what is still to be cut into several frames comes in segments.
 *
 * @param bufferSize - what the program asks for, in bytes, headroom included, or undefined
 * @throws UsageError OPTION_INVALID
 */
export function chooseFrameCapacity(
  features: Pick<NegotiatedFeatures, 'has'>,
  mtu: number,
  bufferSize: number | undefined,
): number {
  const merging = features.has('VIRTIO_NET_F_MRG_RXBUF');
  const plain = Math.max(mtu + ETHERNET_HEADER_SIZE, LEAST_FRAME_CAPACITY);
  const large = !merging && receivesLargeFrames(features);
  const longest = (large ? Math.max(plain, LARGE_FRAME_CAPACITY) : plain) + VLAN_TAG_SIZE;
  if (bufferSize === undefined) return longest;
  const capacity = bufferSize - HEADROOM;
  if (merging || capacity >= longest) return capacity;
  throw new UsageError('OPTION_INVALID', `bufferSize is ${bufferSize}`, {
    remedy: `Give at least ${longest + HEADROOM}: VIRTIO_NET_F_MRG_RXBUF was not negotiated, so each buffer must hold a whole frame.`,
  });
}
