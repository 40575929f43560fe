/**
 * struct virtio_net_hdr, which precedes every frame in both directions (VIRTIO 1.3, 5.1.6).
 *
 * | offset | bytes | field       |                                                                            |
 * |--------|-------|-------------|----------------------------------------------------------------------------|
 * | 0      | 1     | flags       |                                                                            |
 * | 1      | 1     | gso_type    |                                                                            |
 * | 2      | 2     | hdr_len     |                                                                            |
 * | 4      | 2     | gso_size    |                                                                            |
 * | 6      | 2     | csum_start  |                                                                            |
 * | 8      | 2     | csum_offset |                                                                            |
 * | 10     | 2     | num_buffers | not there on the legacy interface without VIRTIO_NET_F_MRG_RXBUF           |
 * | 12     | 4     | hash_value  | with VIRTIO_NET_F_HASH_REPORT, as is what follows                          |
 * | 16     | 2     | hash_report |                                                                            |
 * | 18     | 2     | padding     |                                                                            |
 *
 * All fields are little-endian. On the legacy interface they have the byte order of the machine, which is the same one
 * on the machines that the native shim is built for.
 */
import type { NegotiatedFeatures } from './features.js';
import { HASH_HEADER_SIZE, LEGACY_HEADER_SIZE, NET_HEADER_SIZE } from './header-constants.js';

/** Offsets in bytes of the fields. */
export const HEADER = {
  FLAGS: 0,
  GSO_TYPE: 1,
  HEADER_LENGTH: 2,
  GSO_SIZE: 4,
  CHECKSUM_START: 6,
  CHECKSUM_OFFSET: 8,
  BUFFERS: 10,
  HASH: 12,
  HASH_REPORT: 16,
} as const;

/** Bits of `flags`. */
export const HEADER_FLAG = {
  /** The checksum is partial. */
  NEEDS_CHECKSUM: 1,
  /** The device has checked the checksum. */
  DATA_VALID: 2,
  /** csum_start and csum_offset hold counts of coalesced segments and acknowledgements instead. */
  RSC_INFO: 4,
} as const;

/** The length in bytes of the header, in both directions. */
export function headerSize(features: Pick<NegotiatedFeatures, 'has'>, legacy: boolean): number {
  if (features.has('VIRTIO_NET_F_HASH_REPORT')) return HASH_HEADER_SIZE;
  return legacy && !features.has('VIRTIO_NET_F_MRG_RXBUF') ? LEGACY_HEADER_SIZE : NET_HEADER_SIZE;
}
