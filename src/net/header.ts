/**
 * struct virtio_net_hdr, which precedes every frame in both directions (VIRTIO 1.3, 5.1.6).
 *
 * | offset | bytes | field       |
 * |--------|-------|-------------|
 * | 0      | 1     | flags       |
 * | 1      | 1     | gso_type    |
 * | 2      | 2     | hdr_len     |
 * | 4      | 2     | gso_size    |
 * | 6      | 2     | csum_start  |
 * | 8      | 2     | csum_offset |
 * | 10     | 2     | num_buffers |
 */

/** Length in bytes with VIRTIO_F_VERSION_1 and no hash report. */
export const NET_HEADER_SIZE = 12;

/** Length in bytes of an Ethernet header: destination, source, type. */
export const ETHERNET_HEADER_SIZE = 14;
/** What an IEEE 802.1Q tag adds. */
export const VLAN_TAG_SIZE = 4;

/**
 * Writes the header of a frame that asks nothing of the device: all zero (5.1.6.2.1: num_buffers too).
 *
 * @param bytes - the buffer
 * @param start - offset of the frame; the header goes in front of it
 */
export function writePlainHeader(bytes: Uint8Array, start: number): void {
  // Twelve single stores: no call, and no alignment needed.
  bytes[start - 12] = 0;
  bytes[start - 11] = 0;
  bytes[start - 10] = 0;
  bytes[start - 9] = 0;
  bytes[start - 8] = 0;
  bytes[start - 7] = 0;
  bytes[start - 6] = 0;
  bytes[start - 5] = 0;
  bytes[start - 4] = 0;
  bytes[start - 3] = 0;
  bytes[start - 2] = 0;
  bytes[start - 1] = 0;
}
